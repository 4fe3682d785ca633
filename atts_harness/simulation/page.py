"""A plan as one HTML page that opens offline, in the look of the report: rows, figures of sweeps.

The figures are the paper's: memory, cost, arithmetic intensity r and speed-up over the number of
samples, of turns, or of whatever else was swept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from atts_harness.analysis.html.draw import DASHES, MARKERS, FigureDrawing, themed_svg
from atts_harness.analysis.html.figure import Figure, room, short
from atts_harness.analysis.html.style import stylesheet
from atts_harness.errors import SettingError
from atts_harness.simulation.rows import PlanRow
from atts_harness.simulation.tables import TableRemarks, notes, tables

__all__ = ["figures_of", "write_plan"]

NAMES = {"repeats": "samples a question", "turns": "turns"}
BASES = ("synchronous", "target-only")
"""Against what a speed-up is counted: the first of these that is among the rows."""


@dataclass(frozen=True)
class _Drawn:
    """A figure as the report's macros want it."""

    figure: Figure
    svg: Markup | None


@dataclass(frozen=True)
class _Curve:
    """Rows that differ by one setting alone.

    Attributes:
        label: strategy and the other settings.
        rows: by the setting's value, in its order.
    """

    label: str
    rows: Mapping[float, PlanRow]


def write_plan(
    plan: TableRemarks, rows: Sequence[PlanRow], further: Sequence[str], path: Path
) -> None:
    """Write the page.

    Args:
        plan: what stands above and below the rows.
        rows: of the plan.
        further: lines below the table, beside those of the rows.
        path: of the file.

    Raises:
        SettingError: it cannot be written.
    """
    long, taken = tables(plan, rows)
    columns = [*long.columns, *taken.columns[1:]]
    cells = [[str(cell) for cell in column.cells] for column in columns]
    html = (
        _environment()
        .get_template("plan.html.j2")
        .render(
            title=str(long.title),
            subtitle="Planned by atts-harness in simulated time; nothing was run.",
            style=Markup(stylesheet()),
            headings=[str(column.header) for column in columns],
            lines=list(zip(*cells, strict=True)),
            notes=[*notes(plan, rows), *further],
            figures=[_drawn(figure) for figure in figures_of(rows)],
        )
    )
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--out {path}: cannot be written: {error.strerror}") from error


def figures_of(rows: Sequence[PlanRow]) -> list[Figure]:
    """Four figures for each setting that was swept over numbers; without one, words in their place.

    Args:
        rows: of a plan.
    """
    found: list[Figure] = []
    for name in dict.fromkeys(name for row in rows for name in row.point):
        curves = _curves(rows, name)
        if curves:
            found += _figures(name, curves)
    if not found:
        words = "There is no curve without a sweep of numbers, such as --sweep repeats=1,4,16."
        return [Figure("sweep", "Over what was swept", missing=(words,))]
    return found


def _curves(rows: Sequence[PlanRow], name: str) -> list[_Curve]:
    """Curves of at least two points."""
    points: dict[str, dict[float, PlanRow]] = {}
    for row in rows:
        try:
            x = float(row.point[name])
        except (KeyError, ValueError):
            continue
        others = [f"{key}={value}" for key, value in row.point.items() if key != name]
        points.setdefault(" ".join([row.strategy, *others]), {})[x] = row
    return [
        _Curve(label, dict(sorted(own.items()))) for label, own in points.items() if len(own) > 1
    ]


def _figures(name: str, curves: Sequence[_Curve]) -> list[Figure]:
    said = NAMES.get(name, name)
    made = [
        _figure(
            name,
            "memory",
            f"Memory over {said}",
            "GiB",
            "Weights and the most KV cache in use at a time, of both engines.",
            curves,
            lambda row: sum(engine.memory for engine in row.engines.values()),
        ),
        _figure(
            name,
            "cost",
            f"Cost over {said}",
            "GPU-hours",
            "GPUs times makespan: what a barrier at every turn costs beside none.",
            curves,
            lambda row: row.gpu_hours,
        ),
        _figure(
            name,
            "intensity",
            f"Arithmetic intensity over {said}",
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
        return [*made, Figure(f"speed-{name}", f"Speed-up over {said}", missing=(words,))]
    seconds = {x: row.makespan for x, row in base.rows.items()}
    kept = [
        _Curve(curve.label, {x: row for x, row in curve.rows.items() if x in seconds})
        for curve in curves
    ]
    x_of = {id(row): x for curve in kept for x, row in curve.rows.items()}
    made.append(
        _figure(
            name,
            "speed",
            f"Speed-up over {said}",
            f"times as quick as {base.label}",
            f"Makespan of {base.label} at the same {said}, by the row's.",
            kept,
            lambda row: seconds[x_of[id(row)]] / row.makespan,
        )
    )
    return made


def _figure(
    setting: str,
    name: str,
    title: str,
    unit: str,
    caption: str,
    curves: Sequence[_Curve],
    value: Callable[[PlanRow], float],
) -> Figure:
    said = NAMES.get(setting, setting)

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes(left=56, right=room(curve.label for curve in curves))
        axes.set_xlabel(said)
        axes.set_ylabel(unit)
        for number, curve in enumerate(curves):
            xs = list(curve.rows)
            ys = [value(row) for row in curve.rows.values()]
            (line,) = axes.plot(
                xs,
                ys,
                color=drawing.series(number),
                ls=DASHES[number % len(DASHES)],
                marker=MARKERS[number % len(MARKERS)],
                ms=4,
            )
            drawing.mark(line, title=f"{curve.label}: {short(ys[-1])} at {xs[-1]:g}")
            axes.annotate(
                curve.label,
                (xs[-1], ys[-1]),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
                color=drawing.series(number),
            )
        if all(x > 0 for curve in curves for x in curve.rows):
            axes.set_xscale("log", base=2)
            ticks = sorted({x for curve in curves for x in curve.rows})
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        axes.set_ylim(0, None)

    return Figure(
        f"{name}-{setting}",
        title,
        caption,
        paint,
        ("row", said, unit),
        tuple(
            (curve.label, f"{x:g}", f"{value(row):.4g}")
            for curve in curves
            for x, row in curve.rows.items()
        ),
    )


def _drawn(figure: Figure) -> _Drawn:
    if figure.paint is None:
        return _Drawn(figure, None)
    label = f"{figure.title}. {figure.caption} The figures are in the table below."
    return _Drawn(figure, Markup(themed_svg(figure.paint, label=label, prefix=figure.name)))


def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("atts_harness.simulation", "templates"),
                PackageLoader("atts_harness.analysis.html", "templates"),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
