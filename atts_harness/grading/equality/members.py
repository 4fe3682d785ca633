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


def many(compare: Compares, given: Node, wanted: Many) -> Truth:
    """A list or set of answers, in any order unless names give one."""
    if isinstance(given, Region):
        points = as_region(wanted) if wanted.kind == "set" else None
        return False if points is None else compare.region(given, points)
    items: tuple[Node, ...]
    if isinstance(given, Many):
        items, kind = given.items, given.kind
    elif isinstance(given, Bracketed) and wanted.kind != "set":
        if not distinct_names(wanted.items) or given.opening + given.closing not in ("()", "<>"):
            return compare.doubt("a tuple for a list")
        return in_order(given.items, _values(by_usual_order(wanted.items)), compare.same)
    elif len(wanted.items) == 1:
        return compare.same(given, wanted.items[0])
    else:
        return False
    if any(isinstance(item, Dots) for item in (*items, *wanted.items)):
        return in_order(items, wanted.items, compare.same)
    named, wants_names = distinct_names(items), distinct_names(wanted.items)
    if named and wants_names:
        return _by_name(compare, items, wanted.items)
    if wants_names or named:
        if "set" in (kind, wanted.kind):
            return compare.doubt("names for a set")
        if any(isinstance(item, Relation) for item in (wanted.items if named else items)):
            return False  # names on both sides, and not the same ones
        left = _values(by_usual_order(items)) if named else items
        right = _values(by_usual_order(wanted.items)) if wants_names else wanted.items
        return in_order(left, right, compare.same)

    def same(a: Node, b: Node) -> Truth:
        sets = [isinstance(node, Many) and node.kind == "set" for node in (a, b)]
        return sets[0] == sets[1] and compare.same(a, b)

    return in_any_order(items, wanted.items, same, as_set="set" in (kind, wanted.kind))


def _by_name(compare: Compares, given: Sequence[Node], wanted: Sequence[Node]) -> Truth:
    left = {item.names[0]: item for item in given if isinstance(item, Relation)}
    right = {item.names[0]: item for item in wanted if isinstance(item, Relation)}
    if set(left) != set(right):
        # Functions may name their argument otherwise.
        return in_any_order(given, wanted, compare.same, as_set=False)
    return all_of(compare.same(left[name], right[name]) for name in right)


def bracketed(compare: Compares, given: Node, wanted: Bracketed) -> Truth:
    """A tuple, vector or interval, in order."""
    brackets = wanted.opening + wanted.closing
    if isinstance(given, Bracketed):
        theirs = given.opening + given.closing
        if len(given.items) != len(wanted.items):
            return False
        if theirs != brackets and not {theirs, brackets} <= {"()", "<>"}:
            return False
        return in_order(given.items, wanted.items, compare.same)
    if isinstance(given, Many):
        if brackets not in ("()", "<>") or given.kind in ("set", "or"):
            return False
        items = given.items
        if distinct_names(items):
            items = _values(by_usual_order(items))
        elif may_be_interval(wanted):
            return False
        return in_order(items, wanted.items, compare.same)
    if isinstance(given, Matrix):
        cells = _vector(given)
        if cells is None or brackets not in ("()", "<>"):
            return _nested(compare, wanted, given)
        return in_order(cells, wanted.items, compare.same)
    if isinstance(given, Region | Quantity):
        left, right = as_region(given), as_region(wanted)
        return left is not None and right is not None and compare.region(left, right)
    return compare.doubt("words") if isinstance(given, Words) else False


def matrix(compare: Compares, given: Node, wanted: Matrix) -> Truth:
    """A matrix or vector, cell by cell; a determinant by its value."""
    if wanted.bars and isinstance(given, Quantity):
        value = determinant(wanted)
        return None if value is None else compare.formulas(given.value, value)
    if isinstance(given, Matrix):
        shape = [len(row) for row in given.rows] == [len(row) for row in wanted.rows]
        if not shape or given.bars != wanted.bars:
            return False
        pairs = zip(given.rows, wanted.rows, strict=True)
        return all_of(in_order(a, b, compare.same) for a, b in pairs)
    cells = _vector(wanted)
    if isinstance(given, Quantity) and isinstance(given.value, Op):
        two = cells is not None and len(wanted.rows) == len(cells) == 2
        if given.value.head == "binom" and two and cells is not None:
            return in_order([Quantity(v) for v in given.value.args], cells, compare.same)
    if not isinstance(given, Bracketed) or wanted.bars:
        return False
    if cells is not None and not any(isinstance(item, Bracketed) for item in given.items):
        return in_order(given.items, cells, compare.same)
    return _nested(compare, given, wanted)


def determinant(given: Matrix) -> Expression | None:
    """The value between bars, expanded by the first row; None for a large or broken one."""
    rows = [[cell.value for cell in row if isinstance(cell, Quantity)] for row in given.rows]
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


def _nested(compare: Compares, given: Bracketed, wanted: Matrix) -> Truth:
    """`[[1,2],[3,4]]` and a matrix."""
    rows = [item.items for item in given.items if isinstance(item, Bracketed)]
    if len(rows) != len(given.items) or len(rows) != len(wanted.rows):
        return False
    return all_of(in_order(a, b, compare.same) for a, b in zip(rows, wanted.rows, strict=True))


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
        found.value if isinstance(item, Relation) and (found := stated(item)) else item
        for item in items
    )
