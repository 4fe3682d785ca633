r"""The signs \pm and \mp: a formula with them is several values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

from atts_harness.grading.tree import (
    Expression,
    Many,
    Node,
    Num,
    Op,
    Quantity,
    Unread,
    negated,
    walk,
)


def plus_minus(node: Node) -> Node:
    r"""`3\pm\sqrt5` as both of its values; with `\mp`, signs go together, else each is free."""
    if not isinstance(node, Quantity):
        return node
    signs = [p for p in walk(node.value) if isinstance(p, Op) and p.head in ("pm", "mp")]
    if not signs:
        return node
    if len(signs) > 4:
        return Unread("too many signs")
    linked = any(sign.head == "mp" for sign in signs)
    choices = [(1,) * len(signs), (-1,) * len(signs)]
    if not linked:
        choices = list(itertools.product((1, -1), repeat=len(signs)))
    values = dict.fromkeys(_signed(node.value, iter(choice)) for choice in choices)
    items = tuple(Quantity(value, node.unit, node.noun, node.rounded) for value in values)
    return Many("list", items)


def _signed(expression: Expression, signs: Iterator[int]) -> Expression:
    if not isinstance(expression, Op):
        return expression
    if expression.head in ("pm", "mp"):
        sign = next(signs) * (1 if expression.head == "pm" else -1)
        left, right = (_signed(arg, signs) for arg in expression.args)
        right = right if sign > 0 else negated(right)
        return right if left == Num(Fraction(0)) else Op("+", (left, right))
    return Op(expression.head, tuple(_signed(arg, signs) for arg in expression.args))
