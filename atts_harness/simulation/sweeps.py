"""The figures of a plan's sweeps: the paper's, over samples, turns, or whatever else was swept.

Memory, cost, arithmetic intensity r, and the speed-up against a baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atts_harness.analysis.html.draw import DASHES, MARKERS, FigureDrawing
from atts_harness.analysis.html.figure import Figure, short
from atts_harness.analysis.html.names import LineName, name_lines, room_for_lines, tall
from atts_harness.analysis.html.style import PAPER
from atts_harness.simulation.rows import PlanRow

__all__ = ["figures_of"]

NAMES = {"repeats": "samples a question", "turns": "turns"}
BASES = ("synchronous", "target-only")
"""Against what a speed-up is counted: the first of these that is among the rows."""

HOLLOW = (
    "Hollow: lower bound of the makespan, for the trace has too few samples to tell how long the "
    "longest is."
)


@dataclass(frozen=True)
class _Curve:
    """Rows that differ by one setting alone.

    Attributes:
        label: strategy and the other settings.
        series: number of its colour, the same as in the table.
        rows: by the setting's value, in its order.
    """

    label: str
    series: int
    rows: Mapping[float, PlanRow]


def figures_of(rows: Sequence[PlanRow], series: Sequence[int] | None = None) -> list[Figure]:
    """Four figures for each setting that was swept over numbers; without one, words in their place.

    Args:
        rows: of a plan.
        series: the number of each row's colour; by default the curves have one each.
    """
    colours = None if series is None else dict(zip(map(id, rows), series, strict=True))
    figures: list[Figure] = []
    for name in dict.fromkeys(name for row in rows for name in row.point):
        curves = _curves(rows, name, colours)
        if curves:
            figures += _figures(name, curves)
    if not figures:
        words = "There is no curve without a sweep of numbers, such as --sweep repeats=1,4,16."
        return [Figure("sweep", "Over what was swept", missing=(words,))]
    return figures


def _curves(rows: Sequence[PlanRow], name: str, colours: Mapping[int, int] | None) -> list[_Curve]:
    """Curves of at least two points."""
    points: dict[str, dict[float, PlanRow]] = {}
    for row in rows:
        try:
            x = float(row.point[name])
        except (KeyError, ValueError):
            continue
        others = [f"{key}={value}" for key, value in row.point.items() if key != name]
        points.setdefault(" ".join([row.strategy, *others]), {})[x] = row
    curves: list[_Curve] = []
    for label, by_value in points.items():
        if len(by_value) > 1:
            first = next(iter(by_value.values()))
            series = len(curves) if colours is None else colours[id(first)]
            curves.append(_Curve(label, series, dict(sorted(by_value.items()))))
    return curves


def _figures(name: str, curves: Sequence[_Curve]) -> list[Figure]:
    swept = NAMES.get(name, name)
    figures = [
        _figure(
            name,
            "memory",
            f"Memory over {swept}",
            "GiB",
            "Weights and the most KV cache in use at a time, of both engines.",
            curves,
            lambda row: sum(engine.memory for engine in row.engines.values()),
        ),
        _figure(
            name,
            "cost",
            f"Cost over {swept}",
            "GPU-hours",
            "GPUs times makespan: what a barrier at every turn costs beside none.",
            curves,
            lambda row: row.gpu_hours,
            with_longest=True,
        ),
        _figure(
            name,
            "intensity",
            f"Arithmetic intensity over {swept}",
            "r",
            "The paper's r = T_c / (T_m + T_s): time of arithmetic by that of memory traffic and "
            "of engines with nothing to do.",
            curves,
            lambda row: row.intensity,
        ),
    ]
    base = next((c for b in BASES for c in curves if c.label.split()[0] == b), None)
    if base is None:
        words = f"Nothing to count a speed-up against: add --strategy {BASES[0]}."
        return [*figures, Figure(f"speed-{name}", f"Speed-up over {swept}", missing=(words,))]
    seconds = {x: row.makespan for x, row in base.rows.items()}
    compared = [
        _Curve(curve.label, curve.series, {x: row for x, row in curve.rows.items() if x in seconds})
        for curve in curves
    ]
    x_of = {id(row): x for curve in compared for x, row in curve.rows.items()}
    figures.append(
        _figure(
            name,
            "speed",
            f"Speed-up over {swept}",
            f"times as quick as {base.label}",
            f"Makespan of {base.label} at the same {swept}, by the row's.",
            compared,
            lambda row: seconds[x_of[id(row)]] / row.makespan,
            with_longest=True,
        )
    )
    return figures


def _figure(
    setting: str,
    name: str,
    title: str,
    unit: str,
    caption: str,
    curves: Sequence[_Curve],
    value: Callable[[PlanRow], float],
    *,
    with_longest: bool = False,
) -> Figure:
    """A curve for each label; `with_longest`: values hang on how long the longest sample is."""
    bounds = with_longest and any(row.lower_bound for c in curves for row in c.rows.values())
    swept = NAMES.get(setting, setting)

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes(left=56, right=room_for_lines(drawing, (c.label for c in curves)))
        axes.set_xlabel(swept)
        axes.set_ylabel(unit)
        ends: list[tuple[float, float]] = []
        looks: list[dict[str, Any]] = []
        for number, curve in enumerate(curves):
            points = [(x, value(row), row.lower_bound) for x, row in curve.rows.items()]
            look: dict[str, Any] = {
                "color": drawing.series(curve.series),
                "marker": MARKERS[number % len(MARKERS)],
                "ms": 4,
            }
            dashed = look | {"ls": DASHES[number % len(DASHES)]}
            looks.append(dashed)
            (line,) = axes.plot([x for x, _, _ in points], [y for _, y, _ in points], **dashed)
            hollow = [(x, y) for x, y, bound in points if bound and bounds]
            axes.plot(
                [x for x, _ in hollow],
                [y for _, y in hollow],
                ls="",
                markerfacecolor=drawing.colours[PAPER],
                **look,
            )
            end_x, end_y, _ = points[-1]
            ends.append((end_x, end_y))
            drawing.mark(line, title=f"{curve.label}: {short(end_y)} at {end_x:g}")
        if all(x > 0 for curve in curves for x in curve.rows):
            axes.set_xscale("log", base=2)
            ticks = sorted({x for curve in curves for x in curve.rows})
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        axes.set_ylim(0, None)
        names = [
            LineName(curve.label, drawing.place(axes, *end)[1], look)
            for curve, end, look in zip(curves, ends, looks, strict=True)
        ]
        name_lines(drawing, axes, names)

    return Figure(
        f"{name}-{setting}",
        title,
        caption,
        paint,
        ("row", swept, unit),
        tuple(
            (
                curve.label,
                f"{x:g}",
                _cell(value(row), bound=bounds and row.lower_bound),
            )
            for curve in curves
            for x, row in curve.rows.items()
        ),
        (HOLLOW,) if bounds else (),
        height=tall(len(curves)),
    )


def _cell(value: float, *, bound: bool) -> str:
    return f"{value:.4g} (lower bound)" if bound else f"{value:.4g}"
