"""Golds in special forms: ratios, other bases, times, dates, residues, words."""

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


def literal(compare: Compares, answer: Node, gold: Node) -> Truth:
    """A gold in a special form, such as a time or a date."""
    if isinstance(answer, Many) and answer.items and not isinstance(gold, Words):
        return all_of(compare.same(item, gold) for item in answer.items)
    if isinstance(gold, Ratio):
        return _ratio(compare, answer, gold)
    if isinstance(gold, Based):
        if isinstance(answer, Quantity) and isinstance(answer.value, Num):
            return answer.unit is None and str(answer.value.value) == gold.digits
        return False
    if isinstance(gold, TimeOfDay):
        return _clock(compare, answer, gold)
    if isinstance(gold, Date):
        same_day = isinstance(answer, Date) and (answer.month, answer.day) == (
            gold.month, gold.day
        )  # fmt: skip
        return same_day and isinstance(answer, Date) and gold.year in (0, answer.year)
    if isinstance(gold, Modular):
        if isinstance(answer, Modular):
            equal = compare.formulas(answer.modulus, gold.modulus)
            difference = Op("+", (answer.value, negated(gold.value)))
            residue = Op("bmod", (difference, gold.modulus))
            return equal and compare.formulas(residue, Num(Fraction(0)))
        return isinstance(answer, Quantity) and compare.formulas(answer.value, gold.value)
    if isinstance(gold, Words):
        if isinstance(answer, Quantity) and isinstance(answer.value, Name):
            return gold.words == (answer.value.text.lower(),)
        if not isinstance(answer, Words):
            return compare.doubt("a formula for words") if len(gold.words) > 1 else False
        if len(answer.words) == len(gold.words) == 1:
            return False
        return compare.doubt("other words")
    return False


def _ratio(compare: Compares, answer: Node, gold: Ratio) -> Truth:
    if isinstance(answer, TimeOfDay) and not answer.half:
        parts: tuple[Expression, ...] = tuple(
            Num(Fraction(n)) for n in (answer.hours, answer.minutes)
        )
    elif isinstance(answer, Ratio):
        parts = answer.parts
    elif isinstance(answer, Quantity) and len(gold.parts) == 2 and is_fraction(answer.value):
        return compare.formulas(answer.value, Op("/", gold.parts))
    else:
        return False
    if len(parts) != len(gold.parts):
        return False
    first, gold_first = parts[0], gold.parts[0]
    return all_of(
        compare.formulas(Op("*", (a, gold_first)), Op("*", (b, first)))
        for a, b in zip(parts[1:], gold.parts[1:], strict=True)
    )


def _clock(compare: Compares, answer: Node, gold: TimeOfDay) -> Truth:
    if isinstance(answer, Ratio) and not gold.half:
        return compare.doubt("a ratio or a time")
    if not isinstance(answer, TimeOfDay):
        return compare.doubt("something else than a time")
    if bool(answer.half) != bool(gold.half):
        clocks = (answer.hours, answer.minutes) == (gold.hours, gold.minutes)
        if _minutes(answer) == _minutes(gold) and max(answer.hours, gold.hours) > 12:
            return True
        return answer.half != "" if clocks else False
    return _minutes(answer) == _minutes(gold)


def _minutes(clock: TimeOfDay) -> int:
    hours = clock.hours % 12 + (12 if clock.half == "pm" else 0) if clock.half else clock.hours
    return hours * 60 + clock.minutes


def is_fraction(value: Expression) -> bool:
    """Whether a formula is written as a quotient."""
    return isinstance(value, Op) and value.head == "/"
