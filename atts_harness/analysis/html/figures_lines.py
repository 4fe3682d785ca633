"""Figures with a curve a row: accuracy by turns, latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from atts_harness.analysis.html.draw import DASHES, FigureDrawing
from atts_harness.analysis.html.figure import Figure, lacking, three
from atts_harness.analysis.html.names import LineName, name_lines, room_for_lines, tall
from atts_harness.analysis.html.series import Point
from atts_harness.analysis.html.style import SERIES
from atts_harness.analysis.html.view import View

MOST_STEPS = 200
"""Most points of a distribution's curve."""


def accuracy_by_turns(points: Sequence[Point], views: Mapping[str, View]) -> Figure:
    """Right answers within so many turns: where more turns stop paying."""
    title = "Accuracy by number of turns"
    curves = [(p, views[p.row.id].within) for p in points if views[p.row.id].within]
    missing = lacking([p for p in points if not views[p.row.id].within], views, "grades")
    if not curves:
        return Figure("turns", title, missing=missing)
    most = max(within[-1].turns for _, within in curves)

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes(right=room_for_lines(drawing, (p.label for p, _ in curves)))
        axes.set_xlabel("turns allowed")
        axes.set_ylabel("answered right")
        axes.set_xlim(0.5, most + 0.2)
        lines = []
        for point, within in curves:
            xs = [*(w.turns for w in within), most]
            ys = [*(w.right for w in within), within[-1].right]
            words = f"{point.label}: {ys[-1]:.3f} with {within[-1].turns} turns"
            lines.append((point, xs, ys, words))
        _lines(drawing, axes, lines, drawstyle="steps-post")

    return Figure(
        "turns",
        title,
        "Share of all samples that ended within so many turns with a right answer; a sample that "
        "needed more counts as wrong. Where a curve is flat, more turns no longer pay.",
        paint,
        ("row", "turns", "right", "low", "high", "ended"),
        tuple(
            (p.label, str(w.turns), three(w.right), three(w.low), three(w.high), three(w.ended))
            for p, within in curves
            for w in within
        ),
        missing,
        height=tall(len(curves)),
    )


def latency(points: Sequence[Point], views: Mapping[str, View]) -> Figure:
    """Distribution of samples' latencies."""
    title = "Latency of samples"
    curves = [(p, views[p.row.id].latencies) for p in points if views[p.row.id].latencies]
    missing = lacking([p for p in points if not views[p.row.id].latencies], views, "ledger")
    if not curves:
        return Figure("latency", title, missing=missing)

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes(right=room_for_lines(drawing, (p.label for p, _ in curves)))
        axes.set_xlabel("seconds from admission to the end")
        axes.set_ylabel("share of samples")
        axes.set_xlim(0, max(seconds[-1] for _, seconds in curves) * 1.02 or 1)
        lines = []
        for point, seconds in curves:
            ranks = _thinned(len(seconds))
            words = (
                f"{point.label}: median {rank(seconds, 50):.2f} s, 95 % {rank(seconds, 95):.2f} s"
            )
            lines.append(
                (point, [seconds[i] for i in ranks], [(i + 1) / len(seconds) for i in ranks], words)
            )
        _lines(drawing, axes, lines, top=1.02, by_median=True, drawstyle="steps-post")

    return Figure(
        "latency",
        title,
        "Share of samples that were done within so many seconds, waiting included. Names stand in "
        "the order of the medians.",
        paint,
        ("row", "samples", "median s", "p95 s", "longest s"),
        tuple(
            (p.label, str(len(seconds)), *(f"{rank(seconds, q):.2f}" for q in (50, 95, 100)))
            for p, seconds in curves
        ),
        missing,
        height=tall(len(curves)),
    )


Line = tuple[Point, Sequence[float], Sequence[float], str]


def _lines(
    drawing: FigureDrawing,
    axes: Axes,
    lines: Sequence[Line],
    *,
    top: float | None = None,
    by_median: bool = False,
    **style: Any,
) -> None:
    """Curves, named at their right ends (or, where all end at 1, in order of their medians)."""
    used: dict[int, int] = {}
    looks: list[dict[str, Any]] = []
    for point, xs, ys, words in lines:
        used[point.series] = used.get(point.series, -1) + 1
        dashes = DASHES[(used[point.series] + point.series // SERIES) % len(DASHES)]
        looks.append({"color": drawing.series(point.series), "ls": dashes})
        (line,) = axes.plot(xs, ys, **looks[-1], **style)
        drawing.mark(line, point.row.id, words)
    axes.set_ylim(0, top)
    names = [
        LineName(point.label, drawing.place(axes, xs[-1], ys[-1])[1], look, point.row.id)
        for (point, xs, ys, _), look in zip(lines, looks, strict=True)
    ]
    if by_median:
        order = sorted(range(len(lines)), key=lambda number: _middle(lines[number]))
        names = [names[number] for number in order]
    name_lines(drawing, axes, names, in_order=by_median)


def _middle(line: Line) -> float:
    _, xs, ys, _ = line
    return next(x for x, y in zip(xs, ys, strict=True) if y >= 0.5)


def _thinned(count: int) -> list[int]:
    if count <= MOST_STEPS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (MOST_STEPS - 1)) for i in range(MOST_STEPS)})


def rank(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, max(0, -(-percent * len(ordered) // 100) - 1))]
