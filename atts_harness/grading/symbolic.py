"""Equality of two expressions by computer algebra (math-verify on sympy).

Expressions that have a value are compared by value: constants to 50 digits, formulas at fixed
points. That refutes at once what `simplify` might chew on for minutes, and confirms what it cannot
prove. The rest (sets, inequalities, matrices, words) is math-verify's.

Nothing here bounds time or memory: sympy may expand `10^{10^{10}}`. Only worker processes, which
can be killed, call it. math-verify's own time limit is switched off, for it works in a process's
main thread only and cannot interrupt a running C call.
"""

from __future__ import annotations

import functools
import logging
import re
from fractions import Fraction
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import LatexExtractionConfig, parse, verify

from atts_harness.grading.equivalence import Gold, Truth, leaf_by_text, stands_for
from atts_harness.grading.normalise import decimals, rational
from atts_harness.grading.structure import Leaf

# Says at every first call that the time limit is off.
for _name in ("math_verify.parser", "math_verify.grader"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_LATEX = [LatexExtractionConfig(boxed_match_priority=-1)]
_DIGITS = 50
_SAME_DIGITS = 40
_FUNCTION = re.compile(r"[A-Za-z]\w*\(([a-z])\)")
_CAPITAL = re.compile(r"\\mathbb\{\w\}|\\[A-Za-z]+|([A-HJ-Z])(?:_(?:\{(\w+)\}|(\w)))?")
# Values for the variables of two formulas: no symmetry between them, both signs, and positive
# integers for formulas that only those make sense in.
_POINTS = ((37, 100), (-131, 100), (271, 100), (-57, 10), (443, 100))
_INTEGERS = (5, 8, 12, 3, 17, 10)
_DISCRETE = (sympy.floor, sympy.ceiling, sympy.factorial, sympy.binomial)
_MOST_VARIABLES = 8


def _distinct(match: re.Match[str]) -> str:
    """Give a capital a name of its own: the parser makes small letters of all variables."""
    letter, index = match.group(1), match.group(2) or match.group(3) or ""
    return f"{letter.lower()}_{{u{index}}}" if letter else match.group()


@functools.lru_cache(maxsize=2048)
def _parsed(text: str) -> Any:
    """The sympy object of an expression, None if it is none."""
    found = parse(
        f"${_CAPITAL.sub(_distinct, text)}$",
        extraction_config=_LATEX,
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return found[0] if found else None


def _equal(given: str, wanted: str) -> bool:
    a, b = _parsed(given), _parsed(wanted)
    if a is None or b is None:
        return False
    if isinstance(a, sympy.Eq) and isinstance(b, sympy.Eq):
        return _same_by_value(a.lhs - a.rhs, b.lhs - b.rhs, proportional=True) is True
    by_value = _same_by_value(a, b)
    if by_value is not None:
        return by_value
    return bool(verify(b, a, timeout_seconds=None, raise_on_error=True))


def _same_by_value(a: Any, b: Any, *, proportional: bool = False) -> Truth:
    """Compare the values of two expressions; None if they have none.

    Args:
        a: a sympy expression.
        b: another.
        proportional: equal but for a constant factor will do (equations to zero).
    """
    if not (isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr)):
        return None
    if a.has(sympy.I) or b.has(sympy.I):
        a, b = (e.subs(sympy.Symbol(n), sympy.I) for e, n in ((a, "i"), (b, "i")))
    names = sorted({str(s) for s in a.free_symbols | b.free_symbols})
    if len(names) > _MOST_VARIABLES:
        return None
    if not names:
        return _same_constant(a, b, proportional)
    discrete = a.has(*_DISCRETE) or b.has(*_DISCRETE)
    ratios: list[Any] = []
    for shift in range(len(_INTEGERS) if discrete else len(_POINTS)):
        x, y = (_at(e, names, shift, discrete) for e in (a, b))
        if x is None or y is None:
            continue
        if proportional:
            if (abs(x) < 1e-30) != (abs(y) < 1e-30):
                return False
            ratios.append(x / y)
            x, y = ratios[0], ratios[-1]
        if not _close(x, y):
            return False
        if not proportional:
            ratios.append(1)
    return True if len(ratios) >= 3 else None


def _at(expression: Any, names: list[str], shift: int, discrete: bool) -> Any:
    """A formula's value at one point, None where it has none."""
    values = {}
    for place, name in enumerate(names):
        if discrete:
            value = sympy.Integer(_INTEGERS[(place + shift) % len(_INTEGERS)] + place // 6)
        else:
            top, bottom = _POINTS[(place + shift) % len(_POINTS)]
            value = sympy.Rational(top, bottom) + sympy.Rational(place, 7)
        for symbol in expression.free_symbols:
            if str(symbol) == name:
                values[symbol] = value
    return _number(expression.subs(values))


def _number(expression: Any) -> Any:
    value = expression.doit().evalf(_DIGITS)
    return value if value.is_number and value.is_finite and not value.has(sympy.nan) else None


def _same_constant(a: Any, b: Any, proportional: bool) -> Truth:
    a, b = a.doit(), b.doit()
    if a.is_Rational and b.is_Rational:
        return bool(a == b)
    x, y = _number(a), _number(b)
    if x is None or y is None or proportional:
        return None
    return _close(x, y)


def _close(x: Any, y: Any) -> bool:
    scale = max(abs(x), abs(y))
    return bool(abs(x - y) <= scale * sympy.Float(10) ** -_SAME_DIGITS or scale < 1e-45)


def _value(text: str) -> Fraction | None:
    """A real number to `_DIGITS` digits, None if the expression is none."""
    read = rational(text)
    if read is not None:
        return read[0]
    expression = _parsed(text)
    if not isinstance(expression, sympy.Expr) or expression.free_symbols:
        return None
    value = _number(expression)
    return Fraction(str(value)) if value is not None and value.is_real else None


def leaf_by_algebra(given: Leaf, wanted: Leaf, gold: Gold) -> Truth:
    """Compare two expressions; decides always.

    Args:
        given: of the answer.
        wanted: of the gold.
        gold: tolerance.

    Returns:
        Whether they are equal.
    """
    known = leaf_by_text(given, wanted, gold)
    if known is not None:
        return known
    if given.relation and wanted.relation and not (given.name and wanted.name):
        return _equal(given.relation, wanted.relation)
    if (wanted.relation and not wanted.name) or (given.relation and not given.name):
        return False
    places = decimals(given.text)
    if gold.tolerance is not None or places is not None or decimals(wanted.text) is not None:
        return _near(given.text, places, wanted.text, gold.tolerance)
    return _equal(_renamed(given, wanted), wanted.text)


def _near(given: str, places: int | None, wanted: str, tolerance: float | None) -> bool:
    a, b = _value(given), _value(wanted)
    if a is None or b is None:
        return False
    if tolerance is not None:
        return abs(a - b) <= Fraction(str(tolerance))
    if abs(a - b) <= abs(b) / 10**_SAME_DIGITS:
        return True
    return decimals(wanted) is None and stands_for(a, places, b)


def _renamed(given: Leaf, wanted: Leaf) -> str:
    """`f(n)=2n` for `f(x)=2x`: the name of the argument is free."""
    mine, theirs = _FUNCTION.fullmatch(given.name), _FUNCTION.fullmatch(wanted.name)
    if mine is None or theirs is None or mine.group(1) == theirs.group(1):
        return given.text
    return re.sub(rf"(?<![A-Za-z\\]){mine.group(1)}(?![A-Za-z])", theirs.group(1), given.text)
