"""Where direct labels go: beside points without covering each other, or at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in CSS pixels."""

SIZE = 10.0
"""Of a label's font on the page, in CSS pixels."""
LINE = 12.0
"""Height of a label's line at that size."""


Place = tuple[float, float]
"""From the left and from the top, in CSS pixels."""


@cache
def width_of(text: str, size: float = SIZE) -> float:
    """Width of a text in CSS pixels, in DejaVu Sans; other fonts of pages are narrower."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) + 1


def cut(text: str, width: float, size: float = SIZE) -> str:
    """The text, with an ellipsis in its middle where it is wider than `width` pixels."""
    if width_of(text, size) <= width:
        return text
    kept = len(text) - 1
    while kept > 1 and width_of(_shortened(text, kept), size) > width:
        kept -= 1
    return _shortened(text, kept)


def _shortened(text: str, letters: int) -> str:
    head = (letters + 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (letters - head) :].lstrip()}"


def beside(
    anchors: Sequence[Place],
    widths: Sequence[float],
    bounds: Box,
    lines: Sequence[tuple[Place, Place]] = (),
    height: float = LINE,
) -> list[Place | None]:
    """Left and top of a label for each anchor, near it and where it covers nothing.

    Greedy: each label takes the place around its anchor, of those that touch no point and no other
    label, that is least on lines, and nearest.

    Args:
        anchors: points, in pixels.
        widths: of their labels; 0 for a point without one.
        bounds: where labels may be.
        lines: such as those that join points; a label on one is hard to read.
        height: of a label.

    Returns:
        A place for each, in order; None without a label, or where no place is free.
    """
    marks: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in anchors]
    on_lines = [box for line in lines for box in _along(*line)]
    labels: list[Box] = []
    places: list[Place | None] = []
    for (x, y), width in zip(anchors, widths, strict=True):
        free = []
        for left, top in _around(x, y, width, height) if width else ():
            box = (left, top, left + width, top + height)
            if _inside(box, bounds) and not any(_overlap(box, o) for o in [*marks, *labels]):
                free.append(box)
        best = min(free, key=lambda box: sum(_overlap(box, o) for o in on_lines), default=None)
        places.append(best and best[:2])
        if best:
            labels.append(best)
    return places


def leader(
    anchor: Place, place: Place, width: float, height: float = LINE
) -> tuple[Place, Place] | None:
    """A line from a point to its label, where the label is too far away to be seen as its own.

    Args:
        anchor: the point.
        place: left and top of the label.
        width: of the label.
        height: of the label.
    """
    left, top = place
    end = (min(max(anchor[0], left), left + width), min(max(anchor[1], top), top + height))
    return (anchor, end) if math.dist(anchor, end) > NEAR else None


def spread(heights: Sequence[float], low: float, high: float, gap: float = LINE) -> list[float]:
    """Heights moved apart to at least `gap`, as little as possible in one sweep.

    Args:
        heights: preferred ones, in pixels.
        low: least.
        high: most.
        gap: between neighbours; smaller if there is no room.
    """
    if not heights:
        return []
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    gap = min(gap, (high - low) / max(1, len(heights) - 1))
    placed = [0.0] * len(heights)
    before = low - gap
    for index in order:
        before = placed[index] = max(heights[index], before + gap)
    after = high + gap
    for index in reversed(order):
        after = placed[index] = min(placed[index], after - gap)
    return placed


def _along(start: Place, end: Place) -> list[Box]:
    """Small boxes on a line, without its ends, which are marks."""
    (x0, y0), (x1, y1) = start, end
    count = int(math.hypot(x1 - x0, y1 - y0) / (2 * STEP))
    middles = [
        (x0 + (x1 - x0) * n / (count + 1), y0 + (y1 - y0) * n / (count + 1))
        for n in range(1, count + 1)
    ]
    return [(x - STEP, y - STEP, x + STEP, y + STEP) for x, y in middles]


def _around(x: float, y: float, width: float, height: float) -> list[Place]:
    corners = []
    for far in (6.0, 12.0, 20.0, 30.0, 42.0, 54.0):
        corners += [
            (x + far, y - height / 2),
            (x + far * 0.7, y - height - far * 0.5),
            (x + far * 0.7, y + far * 0.5),
            (x - far - width, y - height / 2),
            (x - far * 0.7 - width, y - height - far * 0.5),
            (x - far * 0.7 - width, y + far * 0.5),
            (x - width / 2, y - height - far),
            (x - width / 2, y + far),
        ]
    return corners


NEAR = 24.0
"""How far from its point a label may be without a line to it, in CSS pixels."""
STEP = 3.0
"""Half the side of a box on a line, in CSS pixels."""


def _inside(box: Box, bounds: Box) -> bool:
    return (
        box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
    )


def _overlap(first: Box, second: Box) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return across * down if across > 0 and down > 0 else 0.0
