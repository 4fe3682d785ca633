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

    def solves(self, inequality: Relation, gold: Region) -> Truth:
        """Whether an inequality in one variable has these solutions."""


@dataclass
class AnswerComparison:
    """One comparison of an answer with a gold.

    Attributes:
        tolerance: absolute error that the row allows for numbers.
        unit: the row's unit.
        percent: whether the row states that the gold is in per cent.
        signed: whether letters may be negative, as the gold shows.
        algebra: computer algebra, None if it must not run.
        hard: whether something needed computer algebra, which did not run.
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

    def same(self, answer: Node, gold: Node) -> Truth:
        """Compare two nodes."""
        if isinstance(answer, Unread):
            return self.doubt(answer.reason)
        if isinstance(gold, Unread):
            return self.doubt(f"gold: {gold.reason}")
        if answer == gold and unread(answer) is None:
            return True
        if isinstance(answer, Relation) and not isinstance(gold, Relation):
            return self._of_relation(answer, gold)
        if isinstance(gold, Quantity):
            return self._quantity(answer, gold)
        if isinstance(gold, Relation):
            return self._relation(answer, gold)
        if isinstance(gold, Many):
            return members.many(self, answer, gold)
        if isinstance(gold, Bracketed):
            return members.bracketed(self, answer, gold)
        if isinstance(gold, Region):
            return self.region(answer, gold)
        if isinstance(gold, Matrix):
            return members.matrix(self, answer, gold)
        return literal(self, answer, gold)

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

    def _quantity(self, answer: Node, gold: Quantity) -> Truth:
        if isinstance(answer, Quantity):
            return same_quantity(
                answer, gold, self.formulas, self.tolerance, self.unit, self.percent
            )
        if isinstance(answer, Many):
            if not answer.items:
                return False
            return all_of(self.same(item, gold) for item in answer.items)
        if isinstance(answer, Modular):
            residue, modulus = values.real(answer.value), values.real(answer.modulus)
            if residue is None or modulus is None or not 0 <= residue < modulus:
                return self.doubt("a residue that is not the least")
            return self.formulas(answer.value, gold.value)
        if isinstance(answer, Ratio) and len(answer.parts) == 2 and is_fraction(gold.value):
            return self.formulas(Op("/", answer.parts), gold.value)
        if isinstance(answer, Based):
            value = Num(Fraction(int(answer.digits, answer.base)))
            equal = self.formulas(value, gold.value)
            return self.doubt("a number in another base") if equal else False
        if isinstance(answer, Region | Bracketed):
            line = as_region(gold)
            return False if line is None else self.region(answer, line)
        if isinstance(answer, Words):
            if isinstance(gold.value, Name) and len(answer.words) == 1:
                return answer.words[0] == gold.value.text.lower()
            counted = any(character.isdigit() for word in answer.words for character in word)
            return self.doubt("words around a number") if counted else False
        if isinstance(answer, TimeOfDay):
            return self.doubt("a time for a number")
        if isinstance(answer, Matrix) and answer.bars:
            expanded = members.determinant(answer)
            return (
                self.doubt("a determinant")
                if expanded is None
                else self.formulas(expanded, gold.value)
            )
        return False

    # Names and equations

    def _of_relation(self, answer: Relation, gold: Node) -> Truth:
        r"""`m+n=33` for 33, `a = b \approx c` for b, `(x,y)=(3,-2)` for the pair."""
        region = as_region(gold) if isinstance(gold, Region | Bracketed) else None
        if region is not None and set(answer.signs) & {"<", ">", "le", "ge"}:
            return self._solved(answer, region)
        stated_answer = stated(answer)
        if stated_answer is None:
            return self.doubt("a relation that states no value")
        if self._contradicts(stated_answer.exact) or _far_off(stated_answer):
            return False
        if stated_answer.label is not None and not stated_answer.is_label():
            return self.doubt("an equation for a value")
        truth = self.same(stated_answer.value, gold)
        if truth is not True and isinstance(gold, Quantity) and isinstance(gold.value, Num):
            for rounded in stated_answer.rounded:
                if isinstance(rounded, Quantity) and rounded.value == gold.value:
                    relaxed = replace(gold, rounded=True)
                    return self._quantity(stated_answer.value, relaxed)
        return truth

    def _contradicts(self, members: Sequence[Node]) -> bool:
        """Whether a chain of equals signs joins different numbers."""
        numbers = [
            m for m in members if isinstance(m, Quantity) and values.real(m.value) is not None
        ]
        quiet = AnswerComparison()
        return any(quiet.same(a, b) is False for a, b in pairwise(numbers))

    def _solved(self, answer: Relation, gold: Region) -> Truth:
        if self.algebra is None:
            self.hard = True
            return self.doubt("an inequality to solve")
        truth = self.algebra.solves(answer, gold)
        return self.doubt("an inequality that was not solved") if truth is None else truth

    def _relation(self, answer: Node, gold: Relation) -> Truth:
        stated_gold = stated(gold)
        if stated_gold is None:
            return self._comparison_of_relations(answer, gold)
        if stated_gold.label is None:
            return self.same(answer, stated_gold.value)
        if not stated_gold.names_value():
            return self._equation(answer, gold)
        if not isinstance(answer, Relation):
            return self.same(answer, stated_gold.value)
        stated_answer = stated(answer)
        if stated_answer is None:
            return False
        if self._contradicts(stated_answer.exact):
            return False
        if stated_answer.label is None:
            return self.same(stated_answer.value, stated_gold.value)
        if stated_answer.name == stated_gold.name:
            return self.same(stated_answer.value, stated_gold.value)
        value = renamed(stated_answer, stated_gold)
        if value is not None:
            return self.same(value, stated_gold.value)
        if stated_answer.names_value():
            return False
        free = isinstance(stated_gold.value, Quantity) and variables(stated_gold.value.value)
        return self._equation(answer, gold) if free else self.doubt("an equation for a value")

    def _equation(self, answer: Node, gold: Relation) -> Truth:
        if not isinstance(answer, Relation) or answer.signs != ("=",) or gold.signs != ("=",):
            return self.doubt("something else than the equation")
        a, b = _difference(answer), _difference(gold)
        if a is None or b is None:
            return self.doubt("sides of an equation")
        try:
            truth = values.proportional(a, b)
        except ArithmeticError as error:
            return self.doubt(str(error))
        return self.doubt("equations without values") if truth is None else truth

    def _comparison_of_relations(self, answer: Node, gold: Relation) -> Truth:
        """Inequalities in several variables: equal if their sides differ by a positive factor."""
        if not isinstance(answer, Relation) or len(answer.signs) != 1 or len(gold.signs) != 1:
            return self.doubt("another relation")
        a, b = _upward(answer), _upward(gold)
        if a is None or b is None:
            if answer.names == gold.names and answer.signs == gold.signs:
                return self.same(answer.sides[-1], gold.sides[-1])
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

    def region(self, answer: Node, gold: Region) -> Truth:
        """Whether a node is the same set of real numbers."""
        region = as_region(answer)
        if region is None:
            return self.doubt("words") if isinstance(answer, Words) else False
        if region.name and gold.name and region.name != gold.name:
            a, b = _half_line(region), _half_line(gold)
            return a is not None and b is not None and self._above_zero(a, b)
        left, right = canonical(region).pieces, canonical(gold).pieces
        return in_any_order(left, right, self._piece, as_set=False)

    def _piece(self, answer: IntervalPiece, gold: IntervalPiece) -> Truth:
        closed = (answer.low_closed, answer.high_closed) == (gold.low_closed, gold.high_closed)
        if not closed:
            return False
        ends = ((answer.low, gold.low), (answer.high, gold.high))
        return all_of(self.ends(a, b) for a, b in ends)

    def ends(self, a: Expression, b: Expression) -> Truth:
        """Whether two ends of pieces are equal; an infinity equals only itself."""
        infinite = [is_infinite(a), is_infinite(b)]
        return a == b if any(infinite) else self.same(Quantity(a), Quantity(b))


def _far_off(statement: Stated) -> bool:
    """Whether a rounded member differs from the exact one by a unit of its last place or more."""
    exact = values.real(statement.value.value) if isinstance(statement.value, Quantity) else None
    for member in statement.rounded:
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
    """The formula that is above zero in a half-line with a bound in other variables: `a > b`."""
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
    """The difference of the sides that is above zero, and the sign: `>`, `ge` or `ne`."""
    difference = _difference(relation) if len(relation.sides) == 2 else None
    sign = relation.signs[0]
    if difference is None or sign not in ("<", ">", "le", "ge", "ne"):
        return None
    if sign in ("<", "le"):
        return negated(difference), {"<": ">", "le": "ge"}[sign]
    return difference, sign
