"""Figures with a point a row: accuracy against costs, realised against nominal rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from atts_harness.analysis.html.draw import FigureDrawing, marker
from atts_harness.analysis.html.figure import Figure, ends, short, three
from atts_harness.analysis.html.names import name_points, taller
from atts_harness.analysis.html.series import Point
from atts_harness.analysis.html.style import MUTED
from atts_harness.analysis.leaderboard.rows import Interval, Row

Measure = Callable[[Row], float | None]


def pareto(points: Sequence[Point], name: str, title: str, unit: str, of: Measure) -> Figure:
    """Accuracy against a cost, every operating point, and the frontier of those shown."""
    drawn = [
        (p, x, p.row.accuracy) for p in points if (x := of(p.row)) is not None and p.row.accuracy
    ]
    lacking = [
        p.label for p in points if (of(p.row) is None or not p.row.accuracy) and not p.row.oracle
    ]
    missing = (f"Not shown: {'; '.join(lacking)}: without this figure.",) if lacking else ()
    votes = any(p.row.vote is not None for p, _, _ in drawn)
    accuracy = "accuracy, of votes where samples vote" if votes else "pass@1"
    if not drawn:
        return Figure(name, title, missing=(f"No row has both pass@1 and {unit}.",))

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes()
        axes.set_xlabel(unit)
        axes.set_ylabel(accuracy)
        axes.set_xlim(0, 1.12 * max(x for _, x, _ in drawn) or 1)
        limits = [end for _, _, y in drawn for end in (y.low, y.high, y.value) if end is not None]
        axes.set_ylim(max(0, min(limits) - 0.04), min(1.02, max(limits) + 0.04))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        _frontier(drawing, axes, [(x, y.value) for p, x, y in drawn if not p.row.oracle])
        for (before, x0, y0), (after, x1, y1) in pairwise(drawn):
            if before.series == after.series:
                (line,) = axes.plot(
                    [x0, x1], [y0.value, y1.value], color=drawing.series(after.series), lw=0.9
                )
                drawing.mark(line, f"{before.row.id} {after.row.id}")
        _name(drawing, axes, drawn, joined=True)
        for point, x, y in drawn:
            colour = drawing.series(point.series)
            if y.low is not None and y.high is not None:
                (bar,) = axes.plot([x, x], [y.low, y.high], color=colour, lw=1, alpha=0.45)
                drawing.mark(bar, point.row.id)
            (dot,) = axes.plot(
                [x],
                [y.value],
                marker(point.series),
                color=colour,
                markersize=6.5,
                markerfacecolor="none" if point.row.oracle else colour,
                clip_on=False,
            )
            across, down = drawing.place(axes, x, y.value)
            drawing.mark(
                dot,
                point.row.id,
                f"{point.label}: {'vote' if point.row.vote is not None else 'pass@1'} "
                f"{y.value:.3f}{ends(y.low, y.high)}; {short(x)} {unit}",
                **({} if point.row.oracle else {"px": f"{across:.1f}", "py": f"{down:.1f}"}),
            )

    return Figure(
        name,
        title,
        "Up and to the left is better. Bars: question-clustered 95 % intervals. "
        "Dashed: the frontier of the rows shown.",
        paint,
        ("row", unit, accuracy, "low", "high"),
        tuple(
            (p.label, short(x), three(y.value), three(y.low), three(y.high)) for p, x, y in drawn
        ),
        missing,
        height=taller(len({p.series for p, _, _ in drawn})),
    )


def _name(
    drawing: FigureDrawing,
    axes: Axes,
    drawn: Sequence[tuple[Point, float, Interval]],
    *,
    joined: bool = False,
) -> None:
    """Name points with intervals, off the bars of the intervals."""
    bars = [
        ((x, y.low), (x, y.high)) for _, x, y in drawn if y.low is not None and y.high is not None
    ]
    points, values = [p for p, _, _ in drawn], [(x, y.value) for _, x, y in drawn]
    name_points(drawing, axes, points, values, bars, joined=joined)


def _frontier(drawing: FigureDrawing, axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    best, line = -1.0, []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if y > best:
            best = y
            line.append((x, y))
    (drawn,) = axes.plot(
        [x for x, _ in line],
        [y for _, y in line],
        color=drawing.colours[MUTED],
        lw=1,
        ls=(0, (3, 3)),
        zorder=1,
    )
    drawing.mark(drawn, frontier="yes")


def realised(points: Sequence[Point]) -> Figure:
    """Realised takeover rates against nominal ones."""
    title = "Realised against nominal takeover rate"
    drawn = []
    for point in points:
        takeover = point.row.takeover
        if takeover and takeover.nominal is not None and takeover.realised is not None:
            drawn.append((point, takeover.nominal, takeover.realised))
    if not drawn:
        return Figure("realised", title, missing=("No row has a nominal rate and p-values.",))

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes()
        axes.set_xlabel("nominal rate")
        axes.set_ylabel("realised rate")
        most = max(max(x, y.high or y.value) for _, x, y in drawn) * 1.1 or 1.0
        axes.set_xlim(0, most)
        axes.set_ylim(0, most)
        axes.plot([0, most], [0, most], color=drawing.colours[MUTED], lw=1, ls=(0, (3, 3)))
        _name(drawing, axes, drawn)
        for point, x, y in drawn:
            colour = drawing.series(point.series)
            if y.low is not None and y.high is not None:
                (bar,) = axes.plot([x, x], [y.low, y.high], color=colour, lw=1, alpha=0.45)
                drawing.mark(bar, point.row.id)
            (dot,) = axes.plot([x], [y.value], marker(point.series), color=colour, markersize=6.5)
            words = f"{point.label}: {y.value:.3f}{ends(y.low, y.high)}, nominal {x:g}"
            drawing.mark(dot, point.row.id, words)

    return Figure(
        "realised",
        title,
        "Takeovers among judged turns, all turns together. Dashed: the nominal rate.",
        paint,
        ("row", "nominal", "realised", "low", "high"),
        tuple(
            (p.label, f"{x:g}", three(y.value), three(y.low), three(y.high)) for p, x, y in drawn
        ),
        height=taller(len({p.series for p, _, _ in drawn})),
    )
