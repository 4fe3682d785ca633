"""Several answers in one text: lists joined by commas, "and" and "or"."""

from __future__ import annotations

from dataclasses import replace

from atts_harness.grading.algebra.regions import intersection, union
from atts_harness.grading.reading.pieces import Piece
from atts_harness.grading.reading.tokens import UnreadableError
from atts_harness.grading.tree import (
    Bracketed,
    Dots,
    Expression,
    Many,
    Matrix,
    Name,
    Node,
    Op,
    Quantity,
    Region,
    Relation,
    Unread,
    Words,
)


def scaled(matrix: Matrix, factor: Expression) -> Matrix:
    """Every cell multiplied."""
    rows = []
    for row in matrix.rows:
        cells = []
        for cell in row:
            if not isinstance(cell, Quantity):
                raise UnreadableError("a cell of a matrix")
            cells.append(replace(cell, value=Op("*", (factor, cell.value))))
        rows.append(tuple(cells))
    return Matrix(tuple(rows), matrix.bars)


def shared_name(items: list[Node]) -> list[Node]:
    """`x = 1, 2` names both, `1 or x = 2` is left alone."""
    first = items[0]
    named = isinstance(first, Relation) and first.signs == ("=",)
    others = items[1:]
    plain = all(isinstance(item, Quantity | Bracketed | Dots) for item in others)
    if not (named and others and plain) or not isinstance(first, Relation):
        return items
    name, text = first.sides[0], first.names[0]
    return [first, *(Relation((name, item), ("=",), (text, "")) for item in others)]


def conjoined(kind: str, items: list[Node]) -> Node:
    """Several inequalities as one set of numbers, everything else as a list.

    "or" gives their union and "and" their intersection. A comma gives the union if they do not
    meet, the intersection if their union has no gap, and else it can be read in two ways.
    """
    regions = [item for item in items if isinstance(item, Region)]
    if len(regions) < len(items) or len(items) < 2 or not all(r.name for r in regions):
        flat: list[Node] = []
        for item in items:
            flat.extend(item.items if isinstance(item, Many) and item.kind != "set" else [item])
        return Many(kind if kind in ("or", "and") else "list", tuple(flat))  # type: ignore[arg-type]
    if len({region.name for region in regions}) != 1:
        return Many("list", tuple(items))
    joined, met = union(regions), regions[0]
    for region in regions[1:]:
        common = intersection(met, region)
        if common is None:
            return joined if kind == "or" else Unread("inequalities whose ends have no values")
        met = common
    if kind == "or":
        return joined
    if met.pieces:
        whole = intersection(joined, joined)
        everything = whole is not None and len(whole.pieces) == 1
        if kind == "and" or everything:
            return met
    elif kind == "list":
        return joined
    return Unread("inequalities that can be read in two ways")


def words(piece: Piece) -> Words:
    """An answer in words; upper and lower case are the same, except for variables."""
    texts = (t.text.lower() if t.kind == "word" else t.text for t in piece)
    return Words(tuple(text for text in texts if text not in (".", "{", "}", "'", '"')))


def spoken_set(piece: Piece) -> Node | None:
    """A set written in words."""
    words = " ".join(token.text.lower() for token in piece)
    if words in ("all real numbers", "all reals", "real numbers", "all real"):
        return Quantity(Name("\\mathbb R"))
    return None
