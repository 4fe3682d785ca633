"""Numbers as they are written."""

from __future__ import annotations

from fractions import Fraction

from atts_harness.grading.reading.tokens import UnreadableError
from atts_harness.grading.tree import Num


def number(text: str) -> Num:
    """The number that a token writes: digits, `0.1(6)` with a repeating block, `6.5e-4`."""
    if "(" in text:
        head, _, block = text.rstrip(")").partition("(")
        whole, _, lead = head.partition(".")
        nines = 10 ** len(block) - 1
        value = Fraction(int((whole or "0") + lead), 10 ** len(lead))
        return Num(value + Fraction(int(block), nines * 10 ** len(lead)))
    mantissa, _, exponent = text.partition("e")
    if len(exponent) > 4:
        raise UnreadableError("an exponent is too large")
    value = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
    if exponent or "." not in mantissa:
        return Num(value)
    places = mantissa.partition(".")[2]
    return Num(value, len(places), len(mantissa.replace(".", "").lstrip("0")))
