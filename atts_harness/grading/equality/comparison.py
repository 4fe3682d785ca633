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
from atts_harness.grading.equality.literals import is_fraction, literal
from atts_harness.grading.equality.matching import all_of, in_any_order
from atts_harness.grading.equality.naming import (
    Stated,
    renamed,
    stated,
)
from atts_harness.grading.tree import (
    Based,
    Bracketed,
    Expression,
    IntervalPiece,
    Many,
    Matrix,
    Modular,
    Name,
    Node,
    Num,
    Op,
    Quantity,
    Ratio,
    Region,
    Relation,
    TimeOfDay,
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
class AnswerComparison:
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
        return literal(self, given, wanted)

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
            residue, modulus = values.real(given.value), values.real(given.modulus)
            if residue is None or modulus is None or not 0 <= residue < modulus:
                return self.doubt("a residue that is not the least")
            return self.formulas(given.value, wanted.value)
        if isinstance(given, Ratio) and len(given.parts) == 2 and is_fraction(wanted.value):
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
        if isinstance(given, TimeOfDay):
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
        if self._contradicts(found.exact) or _far_off(found):
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
        quiet = AnswerComparison()
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

    def _piece(self, given: IntervalPiece, wanted: IntervalPiece) -> Truth:
        closed = (given.low_closed, given.high_closed) == (wanted.low_closed, wanted.high_closed)
        if not closed:
            return False
        ends = ((given.low, wanted.low), (given.high, wanted.high))
        return all_of(self.ends(a, b) for a, b in ends)

    def ends(self, a: Expression, b: Expression) -> Truth:
        """Two ends of pieces; an infinity equals itself only."""
        infinite = [is_infinite(a), is_infinite(b)]
        return a == b if any(infinite) else self.same(Quantity(a), Quantity(b))


def _far_off(found: Stated) -> bool:
    """Whether a rounded member differs from the exact one by a unit of its last place or more."""
    exact = values.real(found.value.value) if isinstance(found.value, Quantity) else None
    for member in found.rounded:
        number = member.value if isinstance(member, Quantity) else None
        if exact is not None and isinstance(number, Num):
            return abs(exact - number.value) >= Fraction(1, 10 ** (number.places or 0))
    return False


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
