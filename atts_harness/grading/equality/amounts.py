"""Whether two quantities are equal: units, percentages, degrees, decimals that are rounded."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from atts_harness.grading.algebra.values import real
from atts_harness.grading.reading import phrases
from atts_harness.grading.tree import Expression, Name, Num, Op, Quantity, variables, walk
from atts_harness.grading.units import UNITS, Unit

APPROXIMATE_FROM = 6
"""Decimal places, and significant digits, from which a decimal may stand for a number that it
does not equal."""

Truth = bool | None
Same = Callable[[Expression, Expression], Truth]

_DEGREE = UNITS["degree"]
_RADIAN = UNITS["radian"]
PERCENT = ("%", "percent", "\\%")


def same_quantity(
    answer: Quantity,
    gold: Quantity,
    same: Same,
    tolerance: float | None,
    unit: Unit | None,
    percent: bool,
) -> Truth:
    """Compare an answer with the gold.

    Args:
        answer: the quantity that was answered.
        gold: the right one.
        same: compares two formulas exactly.
        tolerance: absolute error that the row allows.
        unit: the row's unit, if the gold itself has none.
        percent: whether the row states that the gold is in per cent.

    Returns:
        None if no rule decides it.
    """
    if answer.noun and gold.noun and not phrases.same_noun(answer.noun, gold.noun):
        return None
    gold_unit = gold.unit or unit
    a, b = answer.value, gold.value
    if _is_generic(answer.unit) and not _is_generic(gold_unit):
        answer = Quantity(a, noun=answer.noun, rounded=answer.rounded)
    if answer.unit == _RADIAN and gold_unit == _DEGREE:
        return same(a, Op("deg", (b,)))
    if answer.unit == _RADIAN and gold_unit is None:
        answer = Quantity(a)
    if gold_unit == _DEGREE or answer.unit == _DEGREE:
        return _same_angle(answer, gold, gold_unit, same, tolerance)
    if answer.unit is not None and gold_unit is not None and answer.unit != gold_unit:
        if answer.unit.dimensions != gold_unit.dimensions:
            return False
        a = Op("*", (Num(answer.unit.factor), a))
        b = Op("*", (Num(gold_unit.factor), b))
        return same(a, b)
    if answer.unit is not None and gold_unit is None and gold.noun:
        return None
    return _same_value(answer, gold, same, tolerance, percent)


def _is_generic(unit: Unit | None) -> bool:
    """Whether it stands for any unit, as "square units" does."""
    return unit is not None and [base for base, _ in unit.dimensions] == ["unit"]


def _same_angle(
    answer: Quantity, gold: Quantity, unit: Unit | None, same: Same, tolerance: float | None
) -> Truth:
    if answer.unit is not None and answer.unit.dimensions != _DEGREE.dimensions:
        return False
    a, b = answer.value, gold.value
    if answer.unit is not None and unit is not None and answer.unit != unit:
        return same(Op("*", (Num(answer.unit.factor), a)), Op("*", (Num(unit.factor), b)))
    plain = _same_value(Quantity(a, rounded=answer.rounded), Quantity(b), same, tolerance, False)
    if plain is not False or (answer.unit is not None and unit is not None):
        return plain
    if unit == _DEGREE:
        return same(a, Op("deg", (b,))) if Name("pi") in walk(a) else False
    return same(Op("deg", (a,)), b) if Name("pi") in walk(b) else False


def _same_value(
    answer: Quantity, gold: Quantity, same: Same, tolerance: float | None, percent: bool
) -> Truth:
    a, b = answer.value, gold.value
    a_inner, b_inner = _percentage(a), _percentage(b)
    if percent and a_inner is None and answer.unit is not None and not _is_generic(answer.unit):
        return False
    if a_inner is not None and b_inner is not None:
        return _same_number(Quantity(a_inner), Quantity(b_inner), same, tolerance)
    if a_inner is not None:
        if percent:
            return _same_number(Quantity(a_inner), gold, same, tolerance)
        return same(a, b)
    if b_inner is not None:
        if answer.unit is not None and not _is_generic(answer.unit):
            return False
        if answer.noun:
            return None
        truth = _same_number(answer, Quantity(b_inner), same, tolerance)
        return truth if truth is not False else same(a, b)
    return _same_number(answer, gold, same, tolerance)


def _percentage(value: Expression) -> Expression | None:
    if isinstance(value, Op) and value.head == "neg":
        inner = _percentage(value.args[0])
        return None if inner is None else Op("neg", (inner,))
    return value.args[0] if isinstance(value, Op) and value.head == "%" else None


def _same_number(answer: Quantity, gold: Quantity, same: Same, tolerance: float | None) -> Truth:
    a, b = answer.value, gold.value
    if tolerance is not None:
        x, y = real(a), real(b)
        if x is not None and y is not None:
            return abs(x - y) <= Fraction(str(tolerance))
    truth = same(a, b)
    if truth is True or variables(a) or variables(b):
        return truth
    if isinstance(a, Num) and a.places is not None and not isinstance(b, Num):
        value = real(b)
        return truth if value is None else stands_for(a, value)
    if isinstance(a, Num) and a.places is not None and isinstance(b, Num) and b.places is None:
        return stands_for(a, b.value)
    if gold.rounded and isinstance(b, Num):
        value = real(a)
        half = Fraction(1, 2 * 10 ** (b.places or 0))
        return truth if value is None else abs(value - b.value) <= half
    return truth


def stands_for(decimal: Num, number: Fraction) -> bool:
    """Whether a decimal is a number rounded or cut to its places, and has enough places."""
    places = decimal.places or 0
    if min(places, decimal.digits) < APPROXIMATE_FROM:
        return False
    unit = Fraction(1, 10**places)
    rounded = abs(decimal.value - number) <= unit / 2
    cut = 0 <= (number - decimal.value) * (1 if number > 0 else -1) < unit
    return rounded or cut
