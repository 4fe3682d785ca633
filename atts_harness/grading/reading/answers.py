"""From the text of an answer to its node."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from atts_harness.grading.reading.reader import TextReader
from atts_harness.grading.reading.tokens import Token, UnreadableError, tokens
from atts_harness.grading.tree import Node, Unread

_FUNCTION_LETTERS = frozenset("fghFGHPE") | {"\\phi", "\\Gamma", "\\sigma", "\\tau"}


@lru_cache(maxsize=4096)
def read(
    text: str,
    *,
    several: bool = False,
    unit: str | None = None,
    plain: frozenset[str] = frozenset(),
) -> Node:
    """Read an answer.

    Args:
        text: LaTeX or plain, without the box.
        several: the row says that there are several answers.
        unit: the unit that the row states; behind a number its letters are not variables.
        plain: letters that are not functions (the other side uses them as variables).

    Returns:
        The answer's node; `Unread` where the grammar does not cover it.
    """
    try:
        lexed = tokens(text, several=several)
        functions = frozenset(called(lexed)) - uncalled(lexed) - plain
        return TextReader(functions, _unit_keys(unit)).node(lexed)
    except UnreadableError as error:
        return Unread(str(error))


@lru_cache(maxsize=4096)
def plain_letters(text: str) -> frozenset[str]:
    """Letters that usually name functions and that a text uses as variables: h in "h(b+c)/2"."""
    try:
        return frozenset(uncalled(tokens(text)) & _FUNCTION_LETTERS) - {"f"}
    except UnreadableError:
        return frozenset()


def _unit_keys(unit: str | None) -> tuple[tuple[str, str], ...]:
    try:
        keys = tuple(token.key for token in tokens(unit or ""))
        return () if keys == (("op", "%"),) else keys  # a percent sign is read as one
    except UnreadableError:
        return ()


def called(lexed: Sequence[Token]) -> set[str]:
    """Letters that are written as functions."""
    return {
        token.text
        for token, after in zip(lexed, [*lexed[1:], None], strict=False)
        if token.text in _FUNCTION_LETTERS and after is not None and after.text in ("(", "{")
    }


def uncalled(lexed: Sequence[Token]) -> set[str]:
    """Letters that are written as variables."""
    return {
        token.text
        for token, after in zip(lexed, [*lexed[1:], None], strict=False)
        if token.kind == "name" and (after is None or after.text not in ("(", "{"))
    }
