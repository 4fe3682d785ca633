"""Names in figures: beside points, at the ends of lines, before bars, and in a key above.

A name is cut rather than drawn over another one or out of its figure; tooltips and tables have it
in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes

from atts_harness.analysis.html import labels
from atts_harness.analysis.html.draw import HEIGHT, FigureDrawing, marker
from atts_harness.analysis.html.series import Point

MOST_SHARE = 0.42
"""Of a figure's width, the most that names beside its axes may take."""
SAMPLE = 16.0
"""Length of the piece of a line before its name, in CSS pixels."""
GAP = 6.0
"""Between axes or a piece of a line and a name, in CSS pixels."""
BOTTOM = 40.0
"""Margin below axes, in CSS pixels."""
FEW = 6
"""Names for which a figure of points has its usual height."""


def tall(lines: int) -> int:
    """Height in CSS pixels of a figure with that many names at the ends of its lines."""
    return max(HEIGHT, round(60 + labels.LINE * lines))


def taller(names: int) -> int:
    """Height in CSS pixels of a figure of points with that many names: some stand in a key."""
    return HEIGHT + 9 * max(0, names - FEW)


def room(drawing: FigureDrawing, names: Iterable[str], beside: float = 0.0) -> float:
    """Margin for names in CSS pixels, and `beside` for what stands before them."""
    widest = max((labels.width_of(name, drawing.size) for name in names), default=0.0)
    return min(MOST_SHARE * drawing.width, widest + beside + 2 * GAP)


@dataclass(frozen=True)
class LineName:
    """A line's name at its right end.

    Attributes:
        text: the name.
        down: where it is to stand, in CSS pixels from the top.
        look: of the line: colour, dash and marker, as Matplotlib takes them.
        row: id of the row that it belongs to; "" for none.
    """

    text: str
    down: float
    look: dict[str, Any]
    row: str = ""


def room_for_lines(drawing: FigureDrawing, names: Iterable[str]) -> float:
    """Margin at the right for `name_lines`, in CSS pixels."""
    return room(drawing, names, SAMPLE + GAP)


def name_lines(
    drawing: FigureDrawing, axes: Axes, names: Sequence[LineName], *, in_order: bool = False
) -> None:
    """Each line's name with a piece of the line, at the right of the axes, apart from the others.

    Args:
        drawing: the figure.
        axes: with a margin of `room_for_lines`.
        names: of the lines.
        in_order: one below the other from the top, instead of near the ends of the lines.
    """
    left = axes.get_position().x1 * drawing.width + GAP
    line, low, high = drawing.line, 12.0, drawing.height - BOTTOM
    if in_order:
        gap = min(line, (high - low) / max(1, len(names)))
        places = [low + line / 2 + gap * number for number in range(len(names))]
    else:
        places = labels.spread([name.down for name in names], low, high, line)
    for name, middle in zip(names, places, strict=True):
        piece = drawing.stroke((left, middle), (left + SAMPLE, middle), **name.look)
        at = left + SAMPLE + GAP
        text = labels.cut(name.text, drawing.width - at, drawing.size)
        written = drawing.write(at, middle - line / 2, text, name.look["color"])
        if name.row:
            drawing.mark(piece, name.row)
            drawing.mark(written, name.row)


@dataclass(frozen=True)
class KeyName:
    """A name of the key above a figure.

    Attributes:
        text: the name.
        series: number of its colour.
        marker: of its points; "s", a square, for what has none.
        rows: ids of the rows that it names.
    """

    text: str
    series: int
    marker: str = "s"
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """A key that has its place.

    Attributes:
        names: with left and top of each, in CSS pixels.
        height: CSS pixels from the figure's top to the key's lower edge; 0 for an empty key.
    """

    names: tuple[tuple[KeyName, float, float], ...]
    height: float


def key_of(drawing: FigureDrawing, names: Sequence[KeyName]) -> Key:
    """Put names into lines as wide as the figure."""
    placed: list[tuple[KeyName, float, float]] = []
    left, top = GAP, 2.0
    for name in names:
        wide = 2 * GAP + labels.width_of(_key_text(drawing, name), drawing.size) + 2 * GAP
        if left > GAP and left + wide > drawing.width:
            left, top = GAP, top + drawing.line + 2
        placed.append((name, left, top))
        left += wide
    return Key(tuple(placed), top + drawing.line if names else 0.0)


def draw_key(drawing: FigureDrawing, key: Key) -> None:
    """Draw it: a mark in the series' colour, then the name."""
    for name, left, top in key.names:
        colour = drawing.series(name.series)
        middle = (left + GAP / 2, top + drawing.line / 2)
        dot = drawing.stroke(middle, middle, color=colour, marker=name.marker, markersize=5.5, lw=0)
        text = drawing.write(left + 2 * GAP, top, _key_text(drawing, name), colour)
        if name.rows:
            for artist in (dot, text):
                drawing.mark(artist, " ".join(name.rows), any="yes")


def _key_text(drawing: FigureDrawing, name: KeyName) -> str:
    return labels.cut(name.text, drawing.width - 4 * GAP, drawing.size)


def name_points(
    drawing: FigureDrawing,
    axes: Axes,
    points: Sequence[Point],
    values: Sequence[tuple[float, float]],
    bars: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    *,
    joined: bool = False,
) -> None:
    """Name each series once, at its last point, and give the others their operating point.

    A name that has no free place near its point goes into a key above the axes. An operating point
    that has none is left out. Call it before positions are read: it may move the axes down.

    Args:
        drawing: the figure.
        axes: with their limits.
        points: that are drawn.
        values: their places, in the axes' units.
        bars: lines that labels had better keep off, in the axes' units.
        joined: whether a line joins the points of a series.
    """
    last = {point.series: number for number, point in enumerate(points)}
    series = [point.series for point in points]
    in_key: dict[int, KeyName] = {}
    while True:
        key = key_of(drawing, list(in_key.values()))
        axes.set_position(drawing.box(46, 12, 12 + key.height, BOTTOM))
        places = [drawing.place(axes, *value) for value in values]
        lines = [(drawing.place(axes, *a), drawing.place(axes, *b)) for a, b in bars]
        if joined:
            lines += [
                (start, end)
                for (before, start), (after, end) in pairwise(zip(points, places, strict=True))
                if before.series == after.series
            ]
        texts = [
            (p.value if series.count(p.series) > 1 else "")
            if p.series in in_key or last[p.series] != n
            else p.label
            for n, p in enumerate(points)
        ]
        texts = [labels.cut(text, MOST_SHARE * drawing.width, drawing.size) for text in texts]
        widths = [labels.width_of(text, drawing.size) if text else 0.0 for text in texts]
        inner = (50.0, key.height + 2, drawing.width - 2, drawing.height - BOTTOM - 2)
        corners = labels.beside(places, widths, inner, lines, drawing.line)
        lacking = [
            point
            for number, (point, corner) in enumerate(zip(points, corners, strict=True))
            if corner is None and last[point.series] == number and point.series not in in_key
        ]
        if not lacking:
            break
        for point in lacking:
            own = [p for p in points if p.series == point.series]
            name = point.label if len(own) == 1 else point.name
            rows = tuple(p.row.id for p in own)
            in_key[point.series] = KeyName(name, point.series, marker(point.series), rows)
    draw_key(drawing, key)
    for point, text, width, anchor, corner in zip(
        points, texts, widths, places, corners, strict=True
    ):
        if corner is None:
            continue
        colour = drawing.series(point.series)
        if line := labels.leader(anchor, corner, width, drawing.line):
            drawing.mark(drawing.stroke(*line, color=colour, lw=0.5, alpha=0.6), point.row.id)
        drawing.mark(drawing.write(*corner, text, colour), point.row.id)
