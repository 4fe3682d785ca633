"""Figures with a stacked bar a row: waiting against computing, cost by kind of call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from atts_harness.analysis.html import labels
from atts_harness.analysis.html.draw import FigureDrawing, Painter
from atts_harness.analysis.html.figure import Figure, lacking, short
from atts_harness.analysis.html.names import GAP, KeyName, draw_key, key_of, room
from atts_harness.analysis.html.series import Point
from atts_harness.analysis.html.style import INK
from atts_harness.analysis.html.view import View
from atts_harness.analysis.leaderboard.rows import Row

SMALLEST_VISIBLE = 0.002
"""Least share of the longest bar at which a part of a bar can be seen."""


def waiting(points: Sequence[Point], views: Mapping[str, View]) -> Figure:
    """Time in engines against time waiting (the paper's figure 3)."""
    times = [(p, views[p.row.id], views[p.row.id].waiting) for p in points]
    drawn = [(p, len(v.latencies), w) for p, v, w in times if w and v.latencies]
    missing = lacking([p for p, v, w in times if not (w and v.latencies)], views, "ledger")
    title = "Waiting against computing"
    parts = [(p, [w.computing / n, w.queued / n, w.gathered / n]) for p, n, w in drawn]
    if not parts:
        return Figure("waiting", title, missing=missing)
    names = ("in engines", "waiting for a slot", "waiting for siblings")
    return Figure(
        "waiting",
        title,
        "Mean seconds a sample spends in engines and waiting. The paper's intensity r is the first "
        "over the sum of the others.",
        _bars(parts, names, "seconds a sample"),
        ("row", *names, "r"),
        tuple(
            (p.label, *(f"{v:.2f}" for v in seconds), _ratio(seconds[0], seconds[1] + seconds[2]))
            for p, seconds in parts
        ),
        missing,
        height=_tall(parts),
    )


def cost(points: Sequence[Point]) -> Figure:
    """Computed tokens a sample by role and kind of call."""
    title = "Cost by kind of call"
    counted = [p for p in points if p.row.calls and p.row.samples]
    missing = tuple(
        f"Not shown: {'; '.join(lacking)}: no record of calls."
        for lacking in [[p.label for p in points if p not in counted and not p.row.oracle]]
        if lacking
    )
    kinds = list(dict.fromkeys(kind for p in counted for kind in sorted(p.row.calls)))
    if not counted:
        return Figure("cost", title, missing=missing)
    parts = [
        (p, [_calls(p.row, kind, "computed_tokens") / p.row.samples for kind in kinds])
        for p in counted
    ]
    return Figure(
        "cost",
        title,
        "Tokens that a forward pass was run for (uncached context, scored and written), a sample.",
        _bars(parts, kinds, "computed tokens a sample"),
        ("row", *(f"{kind} tokens" for kind in kinds), *(f"{kind} calls" for kind in kinds), "$"),
        tuple(
            (
                p.label,
                *(f"{v:,.0f}" for v in tokens),
                *(f"{_calls(p.row, kind, 'calls') / p.row.samples:.2f}" for kind in kinds),
                f"{sum(p.row.dollars.values()):.4f}" if p.row.dollars else "no prices given",
            )
            for p, tokens in parts
        ),
        missing,
        height=_tall(parts),
    )


def _calls(row: Row, kind: str, figure: str) -> float:
    return float(getattr(row.calls[kind], figure)) if kind in row.calls else 0.0


def _bars(
    parts: Sequence[tuple[Point, Sequence[float]]], names: Sequence[str], unit: str
) -> Painter:
    """Stacked bars, a row each, the first on top; the names stand above, in their colours."""

    def paint(drawing: FigureDrawing) -> None:
        left = room(drawing, (point.label for point, _ in parts))
        longest = max(sum(values) for _, values in parts)
        # What is too small to be seen is not in the key either; the table has it.
        smallest = SMALLEST_VISIBLE * longest
        drawn = [n for n, _ in enumerate(names) if any(values[n] > smallest for _, values in parts)]
        key = key_of(drawing, [KeyName(names[n], n) for n in drawn])
        draw_key(drawing, key)
        axes = drawing.axes(left=left, top=key.height + 8, right=14)
        axes.set_xlabel(unit)
        axes.grid(visible=False, axis="y")
        for height, (point, values) in enumerate(parts):
            start = 0.0
            for number in drawn:
                (bar,) = axes.barh(
                    [height], [values[number]], 0.62, left=start, color=drawing.series(number)
                )
                drawing.mark(
                    bar, point.row.id, f"{point.label}: {values[number]:,.2f} {names[number]}"
                )
                start += values[number]
        fitting = [labels.cut(p.label, left - 2 * GAP, drawing.size) for p, _ in parts]
        axes.set_yticks(range(len(parts)), fitting)
        axes.tick_params(axis="y", length=0, labelcolor=drawing.colours[INK])
        axes.set_ylim(len(parts) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, longest)
        axes.set_xticks([tick for tick in ticks if tick >= 0])
        axes.set_xlim(0, max(ticks[-1], longest))  # the scale goes as far as the longest bar

    return paint


def _tall(parts: Sequence[Any]) -> int:
    return max(150, 76 + 19 * len(parts))


def _ratio(top: float, bottom: float) -> str:
    return f"{top / bottom:.2f}" if bottom else "never waited"
