"""Where direct labels go: beside points without covering each other, or at the ends of lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in CSS pixels."""

LETTER, LINE = 5.6, 12.0
"""Mean width of a letter and height of a line, in the page's font at 10 px."""


Place = tuple[float, float]
"""From the left and from the top, in CSS pixels."""


def beside(
    anchors: Sequence[Place],
    texts: Sequence[str],
    bounds: Box,
    lines: Sequence[tuple[Place, Place]] = (),
) -> list[Place]:
    """Left and top of a label for each anchor: near it and, if there is room, without overlap.

    Greedy: each label takes the nearest of some places around its anchor that overlaps least with
    the points and with the labels that have a place.

    Args:
        anchors: points, in pixels.
        texts: their labels; "" takes no room.
        bounds: where labels may be.
        lines: that join points, from one to the next; a label on one is hard to read.

    Returns:
        A place for each, in order.
    """
    marks: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in anchors]
    on_lines = [box for line in lines for box in _along(*line)]
    labels: list[Box] = []
    places = []
    for (x, y), text in zip(anchors, texts, strict=True):
        width = len(text) * LETTER
        best = min(
            _around(x, y, width),
            key=lambda at: _cost(
                (at[0], at[1], at[0] + width, at[1] + LINE), marks, [*labels, *on_lines], bounds
            ),
        )
        places.append(best)
        if text:
            labels.append((best[0], best[1], best[0] + width, best[1] + LINE))
    return places


def leader(anchor: Place, place: Place, text: str) -> tuple[Place, Place] | None:
    """A line from a point to its label, where the label is too far away to be seen as its own.

    Args:
        anchor: the point.
        place: left and top of the label.
        text: the label.
    """
    left, top = place
    end = (
        min(max(anchor[0], left), left + len(text) * LETTER),
        min(max(anchor[1], top), top + LINE),
    )
    return (anchor, end) if text and math.dist(anchor, end) > NEAR else None


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


def _around(x: float, y: float, width: float) -> list[tuple[float, float]]:
    corners = []
    for far in (6.0, 12.0, 20.0, *(30.0 + LINE * n for n in range(14))):
        corners += [
            (x + far, y - LINE / 2),
            (x + far * 0.7, y - LINE - far * 0.5),
            (x + far * 0.7, y + far * 0.5),
            (x - far - width, y - LINE / 2),
            (x - far * 0.7 - width, y - LINE - far * 0.5),
            (x - far * 0.7 - width, y + far * 0.5),
            (x - width / 2, y - LINE - far),
            (x - width / 2, y + far),
        ]
    return corners


NEAR = 24.0
"""How far from its point a label may be without a line to it, in CSS pixels."""
STEP = 3.0
"""Half the side of a box on a line, in CSS pixels."""
ON_A_MARK = 30.0
"""Cost of lying on a mark, which hides a figure, relative to lying on another label."""


def _cost(box: Box, marks: Sequence[Box], labels: Sequence[Box], bounds: Box) -> float:
    outside = max(0.0, bounds[0] - box[0]) + max(0.0, box[2] - bounds[2])
    outside += max(0.0, bounds[1] - box[1]) + max(0.0, box[3] - bounds[3])
    on_marks = ON_A_MARK * sum(_overlap(box, mark) for mark in marks)
    return 1e3 * outside + on_marks + sum(_overlap(box, other) for other in labels)


def _overlap(first: Box, second: Box) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return across * down if across > 0 and down > 0 else 0.0
