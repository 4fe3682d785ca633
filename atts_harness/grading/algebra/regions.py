r"""Sets of real numbers: intervals, unions, `x\ne2`, `|x|<1`, `\mathbb{R}\setminus\{3\}`.

Ends are formulas; where all of them have values, pieces are sorted and joined, so that one set has
one spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from atts_harness.grading.algebra.values import real
from atts_harness.grading.tree import (
    Bracketed,
    Expression,
    IntervalPiece,
    Many,
    Name,
    Node,
    Num,
    Op,
    Quantity,
    Region,
    negated,
    variables,
    walk,
)

INFINITY = Name("oo")
MINUS_INFINITY = Op("neg", (INFINITY,))
LINE = Region((IntervalPiece(MINUS_INFINITY, INFINITY, False, False),))
FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "ne": "ne"}


def as_region(node: Node) -> Region | None:
    """The set of real numbers that a node can be read as; None if it cannot."""
    if isinstance(node, Region):
        return node
    if isinstance(node, Quantity) and node.value == Name("\\mathbb R"):
        return LINE
    if isinstance(node, Bracketed):
        return _interval(node)
    if isinstance(node, Many) and node.kind == "set" and node.items:
        points = [item.value for item in node.items if _plain(item)]  # type: ignore[union-attr]
        if len(points) == len(node.items):
            return Region(tuple(IntervalPiece(point, point, True, True) for point in points))
    return None


def _plain(node: Node) -> bool:
    return isinstance(node, Quantity) and node.unit is None and not node.noun


def _interval(node: Bracketed) -> Region | None:
    if len(node.items) != 2 or node.opening not in "([" or not all(map(_plain, node.items)):
        return None
    low, high = (item.value for item in node.items if isinstance(item, Quantity))
    closed = (node.opening == "[", node.closing == "]")
    if any(is_infinite(end) and shut for end, shut in zip((low, high), closed, strict=True)):
        return None  # no interval holds an infinity
    return Region((IntervalPiece(low, high, node.opening == "[", node.closing == "]"),))


def is_infinite(expression: Expression) -> bool:
    """Whether infinity occurs in a formula."""
    return any(isinstance(part, Name) and part.text == "oo" for part in walk(expression))


def may_be_interval(node: Bracketed) -> bool:
    """Whether a pair is in rising order, so that it may be an interval."""
    region = _interval(node)
    if region is None:
        return False
    low, high = _end(region.pieces[0].low), _end(region.pieces[0].high)
    return low is None or high is None or low < high


def union(regions: Sequence[Region]) -> Region:
    """Their union."""
    names = {region.name for region in regions if region.name}
    pieces = tuple(piece for region in regions for piece in region.pieces)
    return Region(pieces, names.pop() if len(names) == 1 else "")


def intersection(a: Region, b: Region) -> Region | None:
    """Their intersection; None unless all ends have values."""
    return _combined(a, b, lambda x, y: x and y)


def difference(a: Region, b: Region) -> Region | None:
    """The first without the second; None unless all ends have values."""
    return _combined(a, b, lambda x, y: x and not y)


def canonical(region: Region) -> Region:
    """Sorted and joined pieces where all ends have values, else the region itself."""
    return _combined(region, Region(()), lambda x, _: x) or region


_End = tuple[int, Fraction]


def _end(expression: Expression) -> _End | None:
    """A place on the line: infinities are -1 and 1, numbers 0 with their value."""
    if expression in (INFINITY, Op("pm", (Num(Fraction(0)), INFINITY))):
        return 1, Fraction(0)
    if expression == MINUS_INFINITY:
        return -1, Fraction(0)
    value = real(expression)
    if value is None:
        return None
    # Ends that differ only in the last of 60 digits are equal.
    return 0, value.limit_denominator(10**24) if value.denominator > 10**24 else value


def _contains(pieces: Sequence[tuple[_End, _End, IntervalPiece]], at: _End, between: bool) -> bool:
    """Whether a point, or the points directly above it, are inside."""
    for low, high, piece in pieces:
        if between:
            if low <= at < high:
                return True
        elif (
            (low < at < high)
            or (low == at and piece.low_closed)
            or (high == at and piece.high_closed)
        ):
            return True
    return False


def _combined(a: Region, b: Region, keep: Callable[[bool, bool], bool]) -> Region | None:
    ends: dict[_End, Expression] = {(-1, Fraction(0)): MINUS_INFINITY, (1, Fraction(0)): INFINITY}
    measured: list[list[tuple[_End, _End, IntervalPiece]]] = [[], []]
    for place, region in enumerate((a, b)):
        for piece in region.pieces:
            low, high = _end(piece.low), _end(piece.high)
            if low is None or high is None:
                return None
            if low > high or (low == high and not (piece.low_closed and piece.high_closed)):
                continue  # empty
            ends.setdefault(low, piece.low)
            ends.setdefault(high, piece.high)
            measured[place].append((low, high, piece))
    first, second = measured
    pieces: list[IntervalPiece] = []
    start: Expression | None = None
    start_closed = False
    order = sorted(ends)
    previous: Expression = MINUS_INFINITY
    for at in order:
        here = at[0] == 0 and keep(_contains(first, at, False), _contains(second, at, False))
        if here and start is None:
            start, start_closed = ends[at], True
        elif not here and start is not None:
            pieces.append(IntervalPiece(start, ends[at], start_closed, False))
            start = None
        above = at[0] < 1 and keep(_contains(first, at, True), _contains(second, at, True))
        if above and start is None:
            start, start_closed = ends[at], here
        elif not above and start is not None:
            pieces.append(IntervalPiece(start, ends[at], start_closed, here))
            start = None
        previous = ends[at]
    if start is not None:
        pieces.append(IntervalPiece(start, previous, start_closed, False))
    return Region(tuple(pieces), a.name or b.name)


def from_inequality(
    sides: Sequence[Expression], signs: Sequence[str], names: Sequence[str]
) -> Region | None:
    r"""The set of an inequality in one variable that is linear in it or in its absolute value.

    Args:
        sides: two or three formulas.
        signs: `< > le ge ne` between them.
        names: the sides' canonical texts.

    Returns:
        With the variable's name; None if it is another kind of inequality.
    """
    if len(sides) == 2:
        left, right = sides
        region = _half(left, signs[0], right, names[0])
        return region or _half(right, FLIPPED[signs[0]], left, names[1])
    if len(sides) != 3 or "ne" in signs:
        return None
    upward = [sign in ("<", "le") for sign in signs]
    if upward[0] != upward[1]:
        return None
    first = _half(sides[1], FLIPPED[signs[0]], sides[0], names[1])
    second = _half(sides[1], signs[1], sides[2], names[1])
    if first is None or second is None or len(first.pieces) != 1 or len(second.pieces) != 1:
        return None
    if first.pieces[0].high != INFINITY:
        first, second = second, first
    low, high = first.pieces[0], second.pieces[0]
    if low.high != INFINITY or high.low != MINUS_INFINITY:
        return None
    return Region(
        (IntervalPiece(low.low, high.high, low.low_closed, high.high_closed),), first.name
    )


def _half(inner: Expression, sign: str, bound: Expression, name: str) -> Region | None:
    """`inner sign bound` solved for the one variable of `inner`."""
    if isinstance(inner, Op) and inner.head == "abs":
        return _absolute(inner.args[0], sign, bound, name)
    if (isinstance(inner, Op) and inner.head == "apply") or isinstance(inner, Name):
        if variables(inner) & variables(bound) and isinstance(inner, Name):
            return None
        return _solved(sign, bound, name)
    names = variables(inner)
    if len(names) != 1 or variables(bound):
        return None
    (variable,) = names
    coefficients = _linear(inner, variable)
    if coefficients is None:
        return None
    slope, offset = coefficients
    if offset == 0:
        value: Expression = Op("/", (bound, Num(slope)))
    else:
        value = Op("/", (Op("+", (bound, negated(Num(offset)))), Num(slope)))
    return _solved(sign if slope > 0 else FLIPPED[sign], value, variable)


def _solved(sign: str, bound: Expression, name: str) -> Region:
    if sign == "ne":
        below = IntervalPiece(MINUS_INFINITY, bound, False, False)
        return Region((below, IntervalPiece(bound, INFINITY, False, False)), name)
    closed = sign in ("le", "ge")
    if sign in ("<", "le"):
        return Region((IntervalPiece(MINUS_INFINITY, bound, False, closed),), name)
    return Region((IntervalPiece(bound, INFINITY, closed, False),), name)


def _absolute(inner: Expression, sign: str, bound: Expression, name: str) -> Region | None:
    limit = real(bound)
    if limit is None or limit < 0 or sign == "ne":
        return None
    names = variables(inner)
    label = next(iter(names)) if len(names) == 1 else name
    upper = _half(inner, sign, bound, label)
    lower = _half(inner, FLIPPED[sign], negated(bound), label)
    if upper is None or lower is None:
        return None
    region = intersection(upper, lower) if sign in ("<", "le") else union((lower, upper))
    return None if region is None else replace(region, name=label)


def _linear(expression: Expression, variable: str) -> tuple[Fraction, Fraction] | None:
    """Slope and offset of a formula that is linear in a variable with rational coefficients."""
    from atts_harness.grading.algebra.values import at

    try:
        points = [at(expression, variable, Fraction(k)) for k in (0, 1, 2, 7, -5)]
    except ArithmeticError:
        return None
    if not all(isinstance(value, Fraction) for value in points):
        return None
    offset, one, two, seven, below = points
    slope = one - offset
    linear = (two, seven, below) == tuple(offset + slope * k for k in (2, 7, -5))
    return (slope, offset) if linear and slope else None
