r"""The left side of an equals sign: a name, a quantity with a value, or an equation.

`x=5`, `f(2)=27`, `|AB|=5` and `m+n=33` give a quantity its value; `2x=10` and `x+5=10` ask for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from atts_harness.grading.tree import (
    Bracketed,
    Expression,
    Many,
    Name,
    Node,
    Num,
    Op,
    Quantity,
    Ratio,
    Relation,
    TimeOfDay,
    Unread,
    Words,
    variables,
    walk,
)

_ARGUMENT = re.compile(r"(?P<name>\S+)(?P<open> \( | _ )(?P<letter>[a-z])(?: \))?")
_APPLIED = re.compile(r"[A-Za-z](?: '+| \^ \{ - 1 \})? \( [a-z](?: , [a-z])* \)")
_NEGATIVE_WORDS = frozenset(["not", "no", "never"])


@dataclass(frozen=True)
class Stated:
    """What a chain of equals signs states.

    Attributes:
        value: its exact member.
        label: the side that has the value, None if the chain has numbers only.
        name: the label's canonical text.
        exact: all members that are equal, without the label.
        rounded: members after a sign for "about".
    """

    value: Node
    label: Node | None
    name: str
    exact: tuple[Node, ...]
    rounded: tuple[Node, ...] = ()

    def is_label(self) -> bool:
        """Whether the left side names a quantity with this value; if not, it is an equation."""
        return _is_label(self.label, self.value)

    def names_value(self) -> bool:
        """Whether the left side is a name; if not, the gold is an equation."""
        label = self.label
        if isinstance(label, Quantity):
            value = label.value
            sized = isinstance(value, Op) and value.head in ("abs", "apply", "index")
            if not (isinstance(value, Name) or sized):
                return self._named_by_product(value)
            return _is_label(label, self.value)
        return isinstance(label, Unread | Words | Ratio | Bracketed)

    def _named_by_product(self, value: Expression) -> bool:
        """`t(x) = 2x` and `AB = 5`: letters that only stand side by side."""
        letters = self.name.replace("(", "").replace(")", "").split()
        plain = all(len(letter) == 1 and letter.isalpha() for letter in letters)
        applied = _APPLIED.fullmatch(self.name) is not None
        capitals = plain and "".join(letters).isupper()
        return applied or (capitals and not _letters(self.value) and isinstance(value, Op))


def _letters(node: Node) -> frozenset[str]:
    return variables(node.value) if isinstance(node, Quantity) else frozenset()


def stated(relation: Relation) -> Stated | None:
    r"""What a relation states; None if it is not a chain of equals signs.

    Of `a = b \approx c` it is b, of `\sqrt2 \approx 1.41` the first, of `x \approx 1.41` the
    second member.
    """
    if not set(relation.signs) <= {"=", "approx", "equiv"}:
        return None
    sides = relation.sides
    end = next((n for n, sign in enumerate(relation.signs) if sign != "="), len(relation.signs))
    exact, rounded = sides[: end + 1], sides[end + 1 :]
    first = sides[0]
    if len(exact) == 1:
        if isinstance(first, Quantity) and not variables(first.value):
            return Stated(first, None, "", exact, rounded)
        value = rounded[0]
        return Stated(value, first, relation.names[0], (), rounded[1:])
    if isinstance(first, Quantity) and not variables(first.value):
        return Stated(exact[-1], None, "", exact, rounded)
    return Stated(exact[-1], first, relation.names[0], exact[1:], rounded)


def _is_label(label: Node | None, value: Node) -> bool:
    if isinstance(label, Words):
        return not _NEGATIVE_WORDS & set(label.words)
    if isinstance(label, Unread):
        return True
    if isinstance(label, Bracketed):
        return isinstance(value, Bracketed | Many) and all(map(_is_name, label.items))
    if isinstance(label, Ratio):
        return isinstance(value, Ratio | TimeOfDay)
    if not isinstance(label, Quantity) or label.unit or label.noun:
        return False
    left = label.value
    if isinstance(left, Name):
        return left.text not in _letters(value)
    if isinstance(left, Op) and left.head in ("apply", "index"):
        return True
    if _letters(value):
        return False
    return not _is_equation(left)


def _is_name(node: Node) -> bool:
    return isinstance(node, Quantity) and isinstance(node.value, Name)


def _is_equation(left: Expression) -> bool:
    """Whether it has a number added or as a factor, or is a multiple of one letter."""
    if not isinstance(left, Op):
        return True
    if left.head == "neg":
        return True
    if left.head == "+":
        alone = len(variables(left)) < 2
        return alone or any(isinstance(term, Num) or _has_factor(term) for term in left.args)
    if _has_factor(left):
        return True
    names = variables(left)
    if len(names) != 1 or left.head in ("abs", "floor", "ceil"):
        return False
    if left.head == "^":
        return not isinstance(left.args[0], Name | Op) or not variables(left.args[0])
    if left.head == "/":
        # n(n+1)/2 is a count, so no equation to solve; x/2 and 1/x are.
        counts = isinstance(left.args[0], Op) and left.args[0].head == "*"
        return not (counts and isinstance(left.args[1], Num | Op))
    return any(isinstance(part, Num) for part in walk(left.args[0])) and left.head != "*"


def _has_factor(term: Expression) -> bool:
    while isinstance(term, Op) and term.head == "*":
        term = term.args[0]
    return isinstance(term, Num) or (isinstance(term, Op) and not variables(term))


def distinct_names(items: Sequence[Node]) -> bool:
    """Whether all members give values to different names."""
    names = [
        item.names[0]
        for item in items
        if isinstance(item, Relation)
        and (statement := stated(item))
        and statement.label is not None
    ]
    return len(items) > 1 and len(names) == len(items) == len(set(names))


def by_usual_order(items: Sequence[Node]) -> tuple[Node, ...]:
    """Members in the alphabetical order of their names; others stay as they are."""
    relations = [item for item in items if isinstance(item, Relation)]
    if not all(re.fullmatch(r"[A-Za-z](?: _ \d+)?", item.names[0]) for item in relations):
        return tuple(items)

    def place(item: Relation) -> tuple[str, int]:
        letter, _, index = item.names[0].partition(" _ ")
        return letter, int(index or 0)

    return tuple(sorted(relations, key=place))


def renamed(answer: Stated, gold: Stated) -> Node | None:
    """The answer's value with the gold's letter: `f(n)=2n` for `f(x)=2x`; None if names differ."""
    mine, theirs = _ARGUMENT.fullmatch(answer.name), _ARGUMENT.fullmatch(gold.name)
    if mine is None or theirs is None or not isinstance(answer.value, Quantity):
        return None
    if (mine["name"], mine["open"]) != (theirs["name"], theirs["open"]):
        return None
    if theirs["letter"] in variables(answer.value.value):
        return None
    value = substituted(answer.value.value, mine["letter"], Name(theirs["letter"]))
    return Quantity(value, answer.value.unit, answer.value.noun)


def substituted(expression: Expression, name: str, by: Expression) -> Expression:
    """A formula with a variable replaced by another formula."""
    if isinstance(expression, Name):
        return by if expression.text == name else expression
    if isinstance(expression, Num):
        return expression
    return Op(expression.head, tuple(substituted(arg, name, by) for arg in expression.args))


ZERO = Num(Fraction(0))
