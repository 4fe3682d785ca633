"""A place in a sequence of tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from atts_harness.grading.reading.tokens import Token, UnreadableError
from atts_harness.grading.tree import Expression


class TokenStream:
    """Tokens that are taken one after the other.

    Attributes:
        tokens: all of them.
        at: the next one's place.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token, or one so many further on; None at the end."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def is_op(self, *signs: str, ahead: int = 0) -> bool:
        """Whether the next token is one of these signs."""
        token = self.peek(ahead)
        return token is not None and token.kind == "op" and token.text in signs

    def take(self) -> Token:
        """Move on; returns the token that was next."""
        token = self.peek()
        if token is None:
            raise UnreadableError("it ends too early")
        self.at += 1
        return token

    def expect(self, sign: str) -> None:
        """Move over a sign that has to be next."""
        if not self.is_op(sign):
            raise UnreadableError(f"{sign} is missing")
        self.at += 1

    def group(self) -> list[Token]:
        """Move over braces, or over one token; returns what is inside."""
        start, depth = self.at, 0
        while True:
            text = self.take().text
            depth += (text == "{") - (text == "}")
            if depth == 0:
                break
        inner = list(self.tokens[start : self.at])
        return inner[1:-1] if inner[0].text == "{" else inner


class Grammar(TokenStream, ABC):
    """What the grammar of functions, roots and sums needs from the grammar of formulas.

    Attributes:
        functions: letters that are functions where a bracket follows.
        bars: absolute values that are open.
    """

    def __init__(self, tokens: Sequence[Token], functions: frozenset[str]) -> None:
        super().__init__(tokens)
        self.functions = functions
        self.bars: list[str] = []

    @abstractmethod
    def sum(self) -> Expression:
        """Read terms with their signs."""

    @abstractmethod
    def product(self) -> Expression:
        """Read factors, from left to right."""

    @abstractmethod
    def power(self) -> Expression:
        """Read a factor with its exponents and the signs behind it."""

    @abstractmethod
    def script(self) -> Expression:
        """Read an exponent or a subscript."""

    @abstractmethod
    def argument(self, single_digit: bool = False) -> Expression:
        """Read the argument of a command."""

    @abstractmethod
    def parse(self, tokens: Sequence[Token]) -> Expression:
        """Read another whole formula, such as the bound of a sum."""
