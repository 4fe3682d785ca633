"""Whether an answer is the gold, node by node.

Order counts in tuples, vectors and matrices, not in sets and lists of solutions. Names on the left
of an equals sign count where both sides have them. What no rule covers is None: undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from atts_harness.grading.algebra import values
from atts_harness.grading.algebra.numbers import HardError, TooLargeError
from atts_harness.grading.algebra.regions import as_region, canonical, is_infinite
from atts_harness.grading.equality import members
from atts_harness.grading.equality.amounts import Truth, same_quantity
from atts_harness.grading.equality.matching import all_of, in_any_order
from atts_harness.grading.equality.naming import (
    renamed,
    stated,
)
from atts_harness.grading.tree import (
    Based,
    Bracketed,
    Clock,
    Date,
    Expression,
    Many,
    Matrix,
    Modular,
    Name,
    Node,
    Num,
    Op,
    Piece,
    Quantity,
    Ratio,
    Region,
    Relation,
    Unread,
    Words,
    negated,
    unread,
    variables,
)
from atts_harness.grading.units import Unit


class Algebra(Protocol):
    """What computer algebra can do; None where it cannot tell."""

    def same(self, a: Expression, b: Expression) -> Truth:
        """Whether two formulas are equal."""

    def solves(self, inequality: Relation, wanted: Region) -> Truth:
        """Whether an inequality in one variable has these solutions."""


@dataclass
class Comparison:
    """One comparison of an answer with a gold.

    Attributes:
        tolerance: absolute error that the row allows for numbers.
        unit: the row's unit.
        percent: the row says that the gold counts per cent.
        signed: letters may be negative, as the gold shows.
        algebra: computer algebra, None where it must not run.
        hard: something was left to computer algebra, and it did not run.
        doubts: why parts were undecided.
    """

    tolerance: float | None = None
    unit: Unit | None = None
    percent: bool = False
    signed: bool = False
    algebra: Algebra | None = None
    hard: bool = False
    doubts: list[str] = field(default_factory=list)

    def doubt(self, reason: str) -> Truth:
        """Note why something is undecided; returns None, the undecided truth."""
        self.doubts.append(reason)
        return None

    def same(self, given: Node, wanted: Node) -> Truth:
        """Compare two nodes."""
        if isinstance(given, Unread):
            return self.doubt(given.reason)
        if isinstance(wanted, Unread):
            return self.doubt(f"gold: {wanted.reason}")
        if given == wanted and unread(given) is None:
            return True
        if isinstance(given, Relation) and not isinstance(wanted, Relation):
            return self._of_relation(given, wanted)
        if isinstance(wanted, Quantity):
            return self._quantity(given, wanted)
        if isinstance(wanted, Relation):
            return self._relation(given, wanted)
        if isinstance(wanted, Many):
            return members.many(self, given, wanted)
        if isinstance(wanted, Bracketed):
            return members.bracketed(self, given, wanted)
        if isinstance(wanted, Region):
            return self.region(given, wanted)
        if isinstance(wanted, Matrix):
            return members.matrix(self, given, wanted)
        return self._other(given, wanted)

    # Formulas

    def formulas(self, a: Expression, b: Expression) -> Truth:
        """Exact equality of two formulas."""
        try:
            truth = values.same(a, b, signed=self.signed)
        except HardError as error:
            if self.algebra is None:
                self.hard = True
                return self.doubt(str(error))
            truth = self.algebra.same(a, b)
        except TooLargeError as error:
            return self.doubt(str(error))
        return self.doubt("no values to compare") if truth is None else truth

    def _quantity(self, given: Node, wanted: Quantity) -> Truth:
        if isinstance(given, Quantity):
            return same_quantity(
                given, wanted, self.formulas, self.tolerance, self.unit, self.percent
            )
        if isinstance(given, Many):
            if not given.items:
                return False
            return all_of(self.same(item, wanted) for item in given.items)
        if isinstance(given, Modular):
            return self.formulas(given.value, wanted.value)
        if isinstance(given, Ratio) and len(given.parts) == 2 and _is_fraction(wanted.value):
            return self.formulas(Op("/", given.parts), wanted.value)
        if isinstance(given, Based):
            value = Num(Fraction(int(given.digits, given.base)))
            equal = self.formulas(value, wanted.value)
            return self.doubt("a number in another base") if equal else False
        if isinstance(given, Region | Bracketed):
            line = as_region(wanted)
            return False if line is None else self.region(given, line)
        if isinstance(given, Words):
            if isinstance(wanted.value, Name) and len(given.words) == 1:
                return given.words[0] == wanted.value.text.lower()
            counted = any(character.isdigit() for word in given.words for character in word)
            return self.doubt("words around a number") if counted else False
        if isinstance(given, Clock):
            return self.doubt("a time for a number")
        if isinstance(given, Matrix) and given.bars:
            expanded = members.determinant(given)
            return (
                self.doubt("a determinant")
                if expanded is None
                else self.formulas(expanded, wanted.value)
            )
        return False

    # Names and equations

    def _of_relation(self, given: Relation, wanted: Node) -> Truth:
        r"""`m+n=33` for 33, `a = b \approx c` for b, `(x,y)=(3,-2)` for the pair."""
        region = as_region(wanted) if isinstance(wanted, Region | Bracketed) else None
        if region is not None and set(given.signs) & {"<", ">", "le", "ge"}:
            return self._solved(given, region)
        found = stated(given)
        if found is None:
            return self.doubt("a relation that states no value")
        if self._contradicts(found.exact):
            return False
        if found.label is not None and not found.is_label():
            return self.doubt("an equation for a value")
        truth = self.same(found.value, wanted)
        if truth is not True and isinstance(wanted, Quantity) and isinstance(wanted.value, Num):
            for rounded in found.rounded:
                if isinstance(rounded, Quantity) and rounded.value == wanted.value:
                    relaxed = replace(wanted, rounded=True)
                    return self._quantity(found.value, relaxed)
        return truth

    def _contradicts(self, members: Sequence[Node]) -> bool:
        """Whether members of a chain of equals signs are different numbers."""
        numbers = [
            m for m in members if isinstance(m, Quantity) and values.real(m.value) is not None
        ]
        quiet = Comparison()
        return any(quiet.same(a, b) is False for a, b in pairwise(numbers))

    def _solved(self, given: Relation, wanted: Region) -> Truth:
        if self.algebra is None:
            self.hard = True
            return self.doubt("an inequality to solve")
        truth = self.algebra.solves(given, wanted)
        return self.doubt("an inequality that was not solved") if truth is None else truth

    def _relation(self, given: Node, wanted: Relation) -> Truth:
        gold = stated(wanted)
        if gold is None:
            return self._comparison_of_relations(given, wanted)
        if gold.label is None:
            return self.same(given, gold.value)
        if not gold.names_value():
            return self._equation(given, wanted)
        if not isinstance(given, Relation):
            return self.same(given, gold.value)
        answer = stated(given)
        if answer is None:
            return False
        if self._contradicts(answer.exact):
            return False
        if answer.label is None:
            return self.same(answer.value, gold.value)
        if answer.name == gold.name:
            return self.same(answer.value, gold.value)
        value = renamed(answer, gold)
        if value is not None:
            return self.same(value, gold.value)
        if answer.names_value():
            return False
        free = isinstance(gold.value, Quantity) and variables(gold.value.value)
        return self._equation(given, wanted) if free else self.doubt("an equation for a value")

    def _equation(self, given: Node, wanted: Relation) -> Truth:
        if not isinstance(given, Relation) or given.signs != ("=",) or wanted.signs != ("=",):
            return self.doubt("something else than the equation")
        a, b = _difference(given), _difference(wanted)
        if a is None or b is None:
            return self.doubt("sides of an equation")
        try:
            truth = values.proportional(a, b)
        except ArithmeticError as error:
            return self.doubt(str(error))
        return self.doubt("equations without values") if truth is None else truth

    def _comparison_of_relations(self, given: Node, wanted: Relation) -> Truth:
        """Inequalities in several variables: equal if their sides differ by a positive factor."""
        if not isinstance(given, Relation) or len(given.signs) != 1 or len(wanted.signs) != 1:
            return self.doubt("another relation")
        a, b = _upward(given), _upward(wanted)
        if a is None or b is None:
            if given.names == wanted.names and given.signs == wanted.signs:
                return self.same(given.sides[-1], wanted.sides[-1])
            return self.doubt("another relation")
        return self._above_zero(a, b)

    def _above_zero(self, a: tuple[Expression, str], b: tuple[Expression, str]) -> Truth:
        """Whether two formulas are above zero (or at least zero) together."""
        if a[1] != b[1]:
            return False
        try:
            truth = values.proportional(a[0], b[0], directed=a[1] != "ne")
        except ArithmeticError as error:
            return self.doubt(str(error))
        return self.doubt("relations without values") if truth is None else truth

    # Sets of numbers

    def region(self, given: Node, wanted: Region) -> Truth:
        """Whether a node is the same set of real numbers."""
        region = as_region(given)
        if region is None:
            return self.doubt("words") if isinstance(given, Words) else False
        if region.name and wanted.name and region.name != wanted.name:
            a, b = _half_line(region), _half_line(wanted)
            return a is not None and b is not None and self._above_zero(a, b)
        left, right = canonical(region).pieces, canonical(wanted).pieces
        return in_any_order(left, right, self._piece, as_set=False)

    def _piece(self, given: Piece, wanted: Piece) -> Truth:
        closed = (given.low_closed, given.high_closed) == (wanted.low_closed, wanted.high_closed)
        if not closed:
            return False
        ends = ((given.low, wanted.low), (given.high, wanted.high))
        return all_of(self.ends(a, b) for a, b in ends)

    def ends(self, a: Expression, b: Expression) -> Truth:
        """Two ends of pieces; an infinity equals itself only."""
        infinite = [is_infinite(a), is_infinite(b)]
        return a == b if any(infinite) else self.same(Quantity(a), Quantity(b))

    # What is left

    def _other(self, given: Node, wanted: Node) -> Truth:
        if isinstance(given, Many) and given.items and not isinstance(wanted, Words):
            return all_of(self.same(item, wanted) for item in given.items)
        if isinstance(wanted, Ratio):
            return self._ratio(given, wanted)
        if isinstance(wanted, Based):
            if isinstance(given, Quantity) and isinstance(given.value, Num):
                return given.unit is None and str(given.value.value) == wanted.digits
            return False
        if isinstance(wanted, Clock):
            return self._clock(given, wanted)
        if isinstance(wanted, Date):
            same_day = isinstance(given, Date) and (given.month, given.day) == (
                wanted.month, wanted.day
            )  # fmt: skip
            return same_day and isinstance(given, Date) and wanted.year in (0, given.year)
        if isinstance(wanted, Modular):
            if isinstance(given, Modular):
                equal = self.formulas(given.modulus, wanted.modulus)
                difference = Op("+", (given.value, negated(wanted.value)))
                residue = Op("bmod", (difference, wanted.modulus))
                return equal and self.formulas(residue, Num(Fraction(0)))
            return isinstance(given, Quantity) and self.formulas(given.value, wanted.value)
        if isinstance(wanted, Words):
            if isinstance(given, Quantity) and isinstance(given.value, Name):
                return wanted.words == (given.value.text.lower(),)
            if not isinstance(given, Words):
                return self.doubt("a formula for words") if len(wanted.words) > 1 else False
            if len(given.words) == len(wanted.words) == 1:
                return False
            return self.doubt("other words")
        return False

    def _ratio(self, given: Node, wanted: Ratio) -> Truth:
        if isinstance(given, Clock) and not given.half:
            parts: tuple[Expression, ...] = tuple(
                Num(Fraction(n)) for n in (given.hours, given.minutes)
            )
        elif isinstance(given, Ratio):
            parts = given.parts
        elif isinstance(given, Quantity) and len(wanted.parts) == 2 and _is_fraction(given.value):
            return self.formulas(given.value, Op("/", wanted.parts))
        else:
            return False
        if len(parts) != len(wanted.parts):
            return False
        first, gold_first = parts[0], wanted.parts[0]
        return all_of(
            self.formulas(Op("*", (a, gold_first)), Op("*", (b, first)))
            for a, b in zip(parts[1:], wanted.parts[1:], strict=True)
        )

    def _clock(self, given: Node, wanted: Clock) -> Truth:
        if isinstance(given, Ratio) and not wanted.half:
            return self.doubt("a ratio or a time")
        if not isinstance(given, Clock):
            return self.doubt("something else than a time")
        if bool(given.half) != bool(wanted.half):
            clocks = (given.hours, given.minutes) == (wanted.hours, wanted.minutes)
            if _minutes(given) == _minutes(wanted) and max(given.hours, wanted.hours) > 12:
                return True
            return given.half != "" if clocks else False
        return _minutes(given) == _minutes(wanted)


def _is_fraction(value: Expression) -> bool:
    return isinstance(value, Op) and value.head == "/"


def _minutes(clock: Clock) -> int:
    hours = clock.hours % 12 + (12 if clock.half == "pm" else 0) if clock.half else clock.hours
    return hours * 60 + clock.minutes


def _difference(relation: Relation) -> Expression | None:
    left, right = relation.sides
    if not isinstance(left, Quantity) or not isinstance(right, Quantity):
        return None
    if left.unit or right.unit or left.noun or right.noun:
        return None
    return Op("+", (left.value, negated(right.value)))


def _half_line(region: Region) -> tuple[Expression, str] | None:
    """What is above zero in a half-line that other variables bound: `a > b`."""
    if len(region.pieces) != 1:
        return None
    piece, variable = region.pieces[0], Name(region.name)
    if is_infinite(piece.high) and variables(piece.low):
        difference: Expression = Op("+", (variable, negated(piece.low)))
        return difference, "ge" if piece.low_closed else ">"
    if is_infinite(piece.low) and variables(piece.high):
        return Op("+", (piece.high, negated(variable))), "ge" if piece.high_closed else ">"
    return None


def _upward(relation: Relation) -> tuple[Expression, str] | None:
    """The difference that is above zero, and by which sign."""
    difference = _difference(relation) if len(relation.sides) == 2 else None
    sign = relation.signs[0]
    if difference is None or sign not in ("<", ">", "le", "ge", "ne"):
        return None
    if sign in ("<", "le"):
        return negated(difference), {"<": ">", "le": "ge"}[sign]
    return difference, sign
