"""Golds in a form of their own: ratios, other bases, times, dates, residues, words."""

from __future__ import annotations

from fractions import Fraction

from atts_harness.grading.equality.contract import Compares
from atts_harness.grading.equality.matching import Truth, all_of
from atts_harness.grading.tree import (
    Based,
    Date,
    Expression,
    Many,
    Modular,
    Name,
    Node,
    Num,
    Op,
    Quantity,
    Ratio,
    TimeOfDay,
    Words,
    negated,
)


def literal(compare: Compares, given: Node, wanted: Node) -> Truth:
    """A gold in a special form, such as a time or a date."""
    if isinstance(given, Many) and given.items and not isinstance(wanted, Words):
        return all_of(compare.same(item, wanted) for item in given.items)
    if isinstance(wanted, Ratio):
        return _ratio(compare, given, wanted)
    if isinstance(wanted, Based):
        if isinstance(given, Quantity) and isinstance(given.value, Num):
            return given.unit is None and str(given.value.value) == wanted.digits
        return False
    if isinstance(wanted, TimeOfDay):
        return _clock(compare, given, wanted)
    if isinstance(wanted, Date):
        same_day = isinstance(given, Date) and (given.month, given.day) == (
            wanted.month, wanted.day
        )  # fmt: skip
        return same_day and isinstance(given, Date) and wanted.year in (0, given.year)
    if isinstance(wanted, Modular):
        if isinstance(given, Modular):
            equal = compare.formulas(given.modulus, wanted.modulus)
            difference = Op("+", (given.value, negated(wanted.value)))
            residue = Op("bmod", (difference, wanted.modulus))
            return equal and compare.formulas(residue, Num(Fraction(0)))
        return isinstance(given, Quantity) and compare.formulas(given.value, wanted.value)
    if isinstance(wanted, Words):
        if isinstance(given, Quantity) and isinstance(given.value, Name):
            return wanted.words == (given.value.text.lower(),)
        if not isinstance(given, Words):
            return compare.doubt("a formula for words") if len(wanted.words) > 1 else False
        if len(given.words) == len(wanted.words) == 1:
            return False
        return compare.doubt("other words")
    return False


def _ratio(compare: Compares, given: Node, wanted: Ratio) -> Truth:
    if isinstance(given, TimeOfDay) and not given.half:
        parts: tuple[Expression, ...] = tuple(
            Num(Fraction(n)) for n in (given.hours, given.minutes)
        )
    elif isinstance(given, Ratio):
        parts = given.parts
    elif isinstance(given, Quantity) and len(wanted.parts) == 2 and is_fraction(given.value):
        return compare.formulas(given.value, Op("/", wanted.parts))
    else:
        return False
    if len(parts) != len(wanted.parts):
        return False
    first, gold_first = parts[0], wanted.parts[0]
    return all_of(
        compare.formulas(Op("*", (a, gold_first)), Op("*", (b, first)))
        for a, b in zip(parts[1:], wanted.parts[1:], strict=True)
    )


def _clock(compare: Compares, given: Node, wanted: TimeOfDay) -> Truth:
    if isinstance(given, Ratio) and not wanted.half:
        return compare.doubt("a ratio or a time")
    if not isinstance(given, TimeOfDay):
        return compare.doubt("something else than a time")
    if bool(given.half) != bool(wanted.half):
        clocks = (given.hours, given.minutes) == (wanted.hours, wanted.minutes)
        if _minutes(given) == _minutes(wanted) and max(given.hours, wanted.hours) > 12:
            return True
        return given.half != "" if clocks else False
    return _minutes(given) == _minutes(wanted)


def _minutes(clock: TimeOfDay) -> int:
    hours = clock.hours % 12 + (12 if clock.half == "pm" else 0) if clock.half else clock.hours
    return hours * 60 + clock.minutes


def is_fraction(value: Expression) -> bool:
    """Whether a formula is written as a quotient."""
    return isinstance(value, Op) and value.head == "/"
