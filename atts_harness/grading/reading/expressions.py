r"""Formulas from tokens, by recursive descent: what `\frac12 ab`, `2sin x` and `3 1/2` mean.

White space counts: "3 1/2" is a mixed number, "2^6 3" a product, "1 2" and "x2" are neither and
are not read. What can be read in two ways is not read either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from atts_harness.grading.reading.numerals import number
from atts_harness.grading.reading.operators import function, named, structure
from atts_harness.grading.reading.stream import Grammar
from atts_harness.grading.reading.tokens import Token, UnreadableError
from atts_harness.grading.tree import Expression, Num, Op, negated

DEEPEST = 60
"""Deepest nesting of brackets that is read."""

PARTNERS = {"(": ")", "[": "]", "{": "}", "lfloor": "rfloor", "lceil": "rceil"}


def parse(tokens: Sequence[Token], functions: frozenset[str] = frozenset()) -> Expression:
    """Read a whole formula.

    Args:
        tokens: all of them must be used.
        functions: letters that are functions where a bracket follows.

    Raises:
        UnreadableError: the grammar does not cover it.
    """
    parser = Parser(tokens, functions)
    formula = parser.sum()
    if parser.at < len(tokens):
        raise UnreadableError(f"unexpected {tokens[parser.at].text}")
    return formula


class Parser(Grammar):
    """One pass over the tokens of a formula.

    Attributes:
        depth: of brackets that are open.
    """

    def __init__(self, tokens: Sequence[Token], functions: frozenset[str]) -> None:
        super().__init__(tokens, functions)
        self.depth = 0

    # Sums, products, powers

    def sum(self) -> Expression:
        """Read terms with their signs."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise UnreadableError("it is nested too deeply")
        terms = [self._signed_term()]
        heads: list[str] = []
        while self.is_op("+", "-", "pm", "mp"):
            sign = self.take().text
            term = self._signed_term()
            heads.append(sign)
            terms.append(negated(term) if sign == "-" else term)
        self.depth -= 1
        if not heads:
            return terms[0]
        total: Expression = terms[0]
        for sign, term in zip(heads, terms[1:], strict=True):
            head = sign if sign in ("pm", "mp") else "+"
            flat = isinstance(total, Op) and total.head == "+" == head
            parts = total.args if flat and isinstance(total, Op) else (total,)
            total = Op(head, (*parts, term))
        return total

    def _signed_term(self) -> Expression:
        if self.is_op("-"):
            self.take()
            return negated(self._signed_term())
        if self.is_op("+"):
            self.take()
            return self._signed_term()
        if self.is_op("pm", "mp"):
            sign = self.take().text
            return Op(sign, (Num(Fraction(0)), self._signed_term()))
        return self.product()

    def product(self) -> Expression:
        """Read factors, from left to right."""
        result = self._juxtaposed()
        while True:
            if self.is_op("*") or self._times_x():
                self.take()
                result = Op("*", (result, self._signed(self._juxtaposed)))
            elif self.is_op("/"):
                self.take()
                divisor = self._signed(self.power)
                result = Op("/", (result, divisor))
                if self._starts_factor():
                    result = self._after_slash(result, divisor)
            elif self.is_op("bmod"):
                self.take()
                result = Op("bmod", (result, self._signed(self._juxtaposed)))
            else:
                return result

    def _times_x(self) -> bool:
        """The x of "3 x 10^5"."""
        token, before, after = self.peek(), self.peek(-1) if self.at else None, self.peek(1)
        return (
            token is not None and before is not None and after is not None
            and token.key in (("name", "x"), ("name", "X")) and before.kind == "num"
            and after.key == ("num", "10") and self.is_op("^", ahead=2)
        )  # fmt: skip

    def _signed(self, read: Callable[[], Expression]) -> Expression:
        if self.is_op("-"):
            self.take()
            return negated(self._signed(read))
        if self.is_op("+"):
            self.take()
            return self._signed(read)
        return read()

    def _after_slash(self, quotient: Expression, divisor: Expression) -> Expression:
        """`1/2 x` is x/2; `a/bc` and `1/2(x)` can be read in two ways."""
        top = quotient.args[0] if isinstance(quotient, Op) else quotient
        token = self.peek()
        simple = isinstance(top, Num) and isinstance(divisor, Num) and token is not None
        if simple and token is not None and (token.kind in ("name", "func", "cmd") or token.gap):
            return Op("*", (quotient, self._juxtaposed()))
        raise UnreadableError("a divisor that can be read in two ways")

    def _juxtaposed(self) -> Expression:
        """Factors side by side."""
        result = self.power()
        count = 1
        while self._starts_factor():
            token = self.peek()
            assert token is not None
            if token.kind == "num" or (token.text == "frac" and isinstance(result, Num)):
                mixed = self._mixed(result) if count == 1 else None
                if mixed is not None:
                    result, count = mixed, 2
                    continue
                if token.kind == "num" and not self._may_precede_digits(token):
                    raise UnreadableError("two numbers side by side")
            if self._times_x():
                break
            result = Op("*", (result, self.power()))
            count += 1
        return result

    def _may_precede_digits(self, token: Token) -> bool:
        r"""`2^6 3^5` and `\frac12 34` are products; "x2", "1 2" and ")2" are not."""
        before = self.tokens[self.at - 1]
        if before.kind == "num":
            powered = self.at >= 2 and self.tokens[self.at - 2].text == "^"
            return powered and token.gap > 0
        if before.key == ("cmd", "frac"):
            return True  # digits that `\\frac` left over
        return before.text == "}" or (before.text == ")" and self.is_op("^", ahead=1))

    def _mixed(self, whole: Expression) -> Expression | None:
        r"""`3 1/2`, `3\frac12` with a whole number before a proper fraction."""
        if not isinstance(whole, Num) or whole.value.denominator != 1 or whole.places is not None:
            return None
        before = self.tokens[self.at - 1]
        if before.kind != "num":
            return None
        start, token = self.at, self.peek()
        assert token is not None
        try:
            if token.kind == "num":
                if not (token.gap and self.is_op("/", ahead=1)):
                    return None
                top = number(self.take().text)
                self.take()
                bottom = self.power()
            else:
                fraction = self.power()
                if not isinstance(fraction, Op) or fraction.head != "/":
                    self.at = start
                    return None
                top, bottom = fraction.args  # type: ignore[assignment]
        except UnreadableError:
            self.at = start
            return None
        proper = (
            isinstance(top, Num) and isinstance(bottom, Num) and 0 < top.value < bottom.value
            and top.value.denominator == bottom.value.denominator == 1
        )  # fmt: skip
        if not proper:
            self.at = start
            return None
        return Op("mixed", (whole, Op("/", (top, bottom))))

    def _starts_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind in ("num", "name", "func"):
            return True
        if token.kind == "cmd":
            return token.text not in ("over", "choose", "pmod")
        if token.kind == "op":
            if token.text in ("|", "||"):
                return not self.bars and token.gap == 0 and self._bar_opens()
            return token.text in ("(", "{", "[", "lfloor", "lceil", "langle")
        return False

    def _bar_opens(self) -> bool:
        """Whether bars from here on come in pairs."""
        ahead = self.tokens[self.at :]
        return sum(t.text == "|" for t in ahead) % 2 == 0 and any(t.text == "|" for t in ahead)

    def power(self) -> Expression:
        """A factor with its exponents, subscripts and signs behind it."""
        value = self.primary()
        while True:
            token = self.peek()
            if token is None or token.kind != "op":
                return value
            if token.text == "^":
                self.take()
                if self._is_degree():
                    value = Op("deg", (value,))
                elif self.is_op("'") or self._braced_prime():
                    raise UnreadableError("a prime")
                else:
                    value = Op("^", (value, self.script()))
                    if self.is_op("^"):
                        raise UnreadableError("a tower without braces")
            elif token.text == "!":
                self.take()
                if self.is_op("!"):
                    raise UnreadableError("a double factorial")
                value = Op("!", (value,))
            elif token.text == "%":
                self.take()
                value = Op("%", (value,))
            elif token.text == "deg":
                self.take()
                value = Op("deg", (value,))
            else:
                return value

    def _braced_prime(self) -> bool:
        return self.is_op("{") and self.is_op("'", ahead=1)

    def _is_degree(self) -> bool:
        r"""`^\circ`, `^{\circ}` or a raised o behind a number."""
        for length, opened in ((1, False), (3, True)):
            token = self.peek(1 if opened else 0)
            if opened and not (self.is_op("{") and self.is_op("}", ahead=2)):
                continue
            if token is not None and token.key in (("op", "deg"), ("name", "o"), ("word", "o")):
                self.at += length
                return True
        return False

    def script(self) -> Expression:
        """An exponent or a subscript: a group, a bracket, or one signed number or letter."""
        if self.is_op("-", "+"):
            sign = self.take().text
            value = self.script()
            return negated(value) if sign == "-" else value
        if self.is_op("(", "{"):
            return self.primary()
        token = self.peek()
        if token is not None and token.kind == "num":
            return number(self.take().text)
        if token is not None and token.kind == "func":
            raise UnreadableError("a function as an exponent needs braces")
        return self.primary()

    # Parts that signs do not divide

    def primary(self) -> Expression:
        """Read a number, a name, an expression in brackets, or a command with its arguments."""
        token = self.take()
        if token.kind == "num":
            return number(token.text)
        if token.kind == "name":
            return named(self, token)
        if token.kind == "func":
            return function(self, token.text)
        if token.kind == "cmd":
            return structure(self, token)
        if token.kind == "op":
            if token.text == "{":
                return self._group()
            if token.text in ("(", "["):
                inside = self._inside(token.text)
                return inside
            if token.text in ("lfloor", "lceil"):
                inner = self.sum()
                self.expect(PARTNERS[token.text])
                return Op("floor" if token.text == "lfloor" else "ceil", (inner,))
            if token.text == "|":
                self.bars.append("|")
                inner = self.sum()
                self.expect("|")
                self.bars.pop()
                return Op("abs", (inner,))
        raise UnreadableError(f"unexpected {token.text}")

    def _inside(self, opening: str) -> Expression:
        bars, self.bars = self.bars, []
        inner = self.sum()
        self.expect(PARTNERS[opening])
        self.bars = bars
        return inner

    def _group(self) -> Expression:
        r"""Braces; with `\over` or `\choose` inside a fraction or a binomial."""
        if self.is_op("}"):
            raise UnreadableError("empty braces")
        bars, self.bars = self.bars, []
        inner = self.sum()
        token = self.peek()
        if token is not None and token.key in (("cmd", "over"), ("cmd", "choose")):
            self.take()
            inner = Op("/" if token.text == "over" else "binom", (inner, self.sum()))
        self.expect("}")
        self.bars = bars
        return inner

    def argument(self, single_digit: bool = False) -> Expression:
        r"""The argument of a command: a group, else one token; of `\frac` one digit."""
        token = self.peek()
        if token is None:
            raise UnreadableError("it ends too early")
        if token.kind == "num" and single_digit and len(token.text) > 1 and token.text.isdigit():
            remaining_digits = replace(token, text=token.text[1:], gap=0)
            self.tokens = [*self.tokens[: self.at], remaining_digits, *self.tokens[self.at + 1 :]]
            return number(token.text[0])
        if token.text == "-" and token.kind == "op":
            raise UnreadableError("a sign where an argument should stand")
        return self.primary()

    def parse(self, tokens: Sequence[Token]) -> Expression:
        """Read another whole formula, such as the bound of a sum."""
        return parse(tokens, self.functions)
