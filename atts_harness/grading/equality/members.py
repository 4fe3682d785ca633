"""Answers with members: lists, sets, tuples, vectors, matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atts_harness.grading.algebra.regions import as_region, may_be_interval
from atts_harness.grading.equality.contract import Compares
from atts_harness.grading.equality.matching import Truth, all_of, in_any_order, in_order
from atts_harness.grading.equality.naming import by_usual_order, distinct_names, stated
from atts_harness.grading.tree import (
    Bracketed,
    Dots,
    Expression,
    Many,
    Matrix,
    Node,
    Op,
    Quantity,
    Region,
    Relation,
    Words,
    negated,
)


def many(compare: Compares, answer: Node, gold: Many) -> Truth:
    """A list or set of answers, in any order unless names give one."""
    if isinstance(answer, Region):
        points = as_region(gold) if gold.kind == "set" else None
        return False if points is None else compare.region(answer, points)
    items: tuple[Node, ...]
    if isinstance(answer, Many):
        items, kind = answer.items, answer.kind
    elif isinstance(answer, Bracketed) and gold.kind != "set":
        if not distinct_names(gold.items) or answer.opening + answer.closing not in ("()", "<>"):
            return compare.doubt("a tuple for a list")
        return in_order(answer.items, _values(by_usual_order(gold.items)), compare.same)
    elif len(gold.items) == 1:
        return compare.same(answer, gold.items[0])
    else:
        return False
    if any(isinstance(item, Dots) for item in (*items, *gold.items)):
        return in_order(items, gold.items, compare.same)
    named, wants_names = distinct_names(items), distinct_names(gold.items)
    if named and wants_names:
        return _by_name(compare, items, gold.items)
    if wants_names or named:
        if "set" in (kind, gold.kind):
            return compare.doubt("names for a set")
        if any(isinstance(item, Relation) for item in (gold.items if named else items)):
            return False  # names on both sides, and not the same ones
        left = _values(by_usual_order(items)) if named else items
        right = _values(by_usual_order(gold.items)) if wants_names else gold.items
        return in_order(left, right, compare.same)

    def same(a: Node, b: Node) -> Truth:
        sets = [isinstance(node, Many) and node.kind == "set" for node in (a, b)]
        return sets[0] == sets[1] and compare.same(a, b)

    return in_any_order(items, gold.items, same, as_set="set" in (kind, gold.kind))


def _by_name(compare: Compares, answer: Sequence[Node], gold: Sequence[Node]) -> Truth:
    left = {item.names[0]: item for item in answer if isinstance(item, Relation)}
    right = {item.names[0]: item for item in gold if isinstance(item, Relation)}
    if set(left) != set(right):
        # The same function may be written with another name of its argument.
        return in_any_order(answer, gold, compare.same, as_set=False)
    return all_of(compare.same(left[name], right[name]) for name in right)


def bracketed(compare: Compares, answer: Node, gold: Bracketed) -> Truth:
    """A tuple, vector or interval, in order."""
    brackets = gold.opening + gold.closing
    if isinstance(answer, Bracketed):
        theirs = answer.opening + answer.closing
        if len(answer.items) != len(gold.items):
            return False
        if theirs != brackets and not {theirs, brackets} <= {"()", "<>"}:
            return False
        return in_order(answer.items, gold.items, compare.same)
    if isinstance(answer, Many):
        if brackets not in ("()", "<>") or answer.kind in ("set", "or"):
            return False
        items = answer.items
        if distinct_names(items):
            items = _values(by_usual_order(items))
        elif may_be_interval(gold):
            return False
        return in_order(items, gold.items, compare.same)
    if isinstance(answer, Matrix):
        cells = _vector(answer)
        if cells is None or brackets not in ("()", "<>"):
            return _nested(compare, gold, answer)
        return in_order(cells, gold.items, compare.same)
    if isinstance(answer, Region | Quantity):
        left, right = as_region(answer), as_region(gold)
        return left is not None and right is not None and compare.region(left, right)
    return compare.doubt("words") if isinstance(answer, Words) else False


def matrix(compare: Compares, answer: Node, gold: Matrix) -> Truth:
    """A matrix or vector, cell by cell; a determinant by its value."""
    if gold.bars and isinstance(answer, Quantity):
        value = determinant(gold)
        return None if value is None else compare.formulas(answer.value, value)
    if isinstance(answer, Matrix):
        shape = [len(row) for row in answer.rows] == [len(row) for row in gold.rows]
        if not shape or answer.bars != gold.bars:
            return False
        pairs = zip(answer.rows, gold.rows, strict=True)
        return all_of(in_order(a, b, compare.same) for a, b in pairs)
    cells = _vector(gold)
    if isinstance(answer, Quantity) and isinstance(answer.value, Op):
        two = cells is not None and len(gold.rows) == len(cells) == 2
        if answer.value.head == "binom" and two and cells is not None:
            return in_order([Quantity(v) for v in answer.value.args], cells, compare.same)
    if not isinstance(answer, Bracketed) or gold.bars:
        return False
    if cells is not None and not any(isinstance(item, Bracketed) for item in answer.items):
        return in_order(answer.items, cells, compare.same)
    return _nested(compare, answer, gold)


def determinant(answer: Matrix) -> Expression | None:
    """The value between bars, expanded by the first row; None for a large or broken one."""
    rows = [[cell.value for cell in row if isinstance(cell, Quantity)] for row in answer.rows]
    size = len(rows)
    if size > 4 or any(len(row) != size for row in rows):
        return None
    return _expanded(rows)


def _expanded(rows: list[list[Expression]]) -> Expression:
    if len(rows) == 1:
        return rows[0][0]
    terms: list[Expression] = []
    for at, cell in enumerate(rows[0]):
        minor = [row[:at] + row[at + 1 :] for row in rows[1:]]
        term = Op("*", (cell, _expanded(minor)))
        terms.append(negated(term) if at % 2 else term)
    return Op("+", tuple(terms))


def _nested(compare: Compares, answer: Bracketed, gold: Matrix) -> Truth:
    """`[[1,2],[3,4]]` and a matrix."""
    rows = [item.items for item in answer.items if isinstance(item, Bracketed)]
    if len(rows) != len(answer.items) or len(rows) != len(gold.rows):
        return False
    return all_of(in_order(a, b, compare.same) for a, b in zip(rows, gold.rows, strict=True))


def _vector(matrix: Matrix) -> tuple[Node, ...] | None:
    if matrix.bars:
        return None
    if len(matrix.rows) == 1:
        return matrix.rows[0]
    if all(len(row) == 1 for row in matrix.rows):
        return tuple(row[0] for row in matrix.rows)
    return None


def _values(items: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(
        statement.value if isinstance(item, Relation) and (statement := stated(item)) else item
        for item in items
    )
