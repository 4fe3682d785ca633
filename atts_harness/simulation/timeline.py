"""What each sample does on draft and target over time: the paper's figure of slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from atts_harness.analysis.html.draw import FigureDrawing
from atts_harness.analysis.html.figure import Figure
from atts_harness.analysis.html.figures_run import KINDS, OTHER
from atts_harness.analysis.html.names import KeyName, draw_key, key_of
from atts_harness.records import CallRecord, SampleId
from atts_harness.simulation.cells import CellRow
from atts_harness.simulation.plans import SimulationPlan, calls_of
from atts_harness.simulation.rows import PlanRow

__all__ = ["SAMPLES", "timeline", "timeline_figure", "timeline_rows", "timelines", "waiting"]

SAMPLES = 8
"""Samples of the question that is drawn."""
WIDTH, LEFT, RIGHT = 820, 66, 12
LINE, HEADING, AXIS, TOP = 13, 22, 40, 22
"""Pixels of a sample's line, of a panel's heading, of the time axis, and of the legend."""
BARRIER, ASYNCHRONOUS = "synchronous", "atts"


def timeline(plan: SimulationPlan, rows: Sequence[PlanRow]) -> Figure:
    """The samples of one question by `synchronous` and by `atts`, as far as both are among rows.

    Args:
        plan: that the rows are of.
        rows: of the plan.
    """
    return timeline_figure({row.label: calls_of(plan, row, SAMPLES) for row in timeline_rows(rows)})


def timelines(rows: Iterable[CellRow]) -> list[Figure]:
    """A timeline for each pair of a plan file: of its first task that has both strategies.

    Args:
        rows: of the file's cells.
    """
    by_pair: dict[str, dict[str, list[CellRow]]] = {}
    for made in rows:
        by_pair.setdefault(made.cell.pair, {}).setdefault(made.cell.task_name, []).append(made)
    figures: list[Figure] = []
    for pair, tasks in by_pair.items():
        drawn = max(map(_drawn, tasks.values()), key=len)
        calls = {made.cell.row: calls_of(made.plan, made.row, SAMPLES) for made in drawn}
        figure = timeline_figure(calls)
        if len(by_pair) > 1:
            title = f"{figure.title}: {pair}"
            figure = replace(figure, name=f"timeline-{len(figures) + 1}", title=title)
        figures.append(figure)
    return figures


def _drawn(cells: Sequence[CellRow]) -> list[CellRow]:
    by_row = {id(made.row): made for made in cells}
    return [by_row[id(row)] for row in timeline_rows([made.row for made in cells])]


def timeline_rows(rows: Sequence[PlanRow]) -> list[PlanRow]:
    """The rows that are drawn: with a barrier at every turn, and without, at one operating point.

    Args:
        rows: of a plan; without either strategy its first row is drawn alone.
    """
    barrier = [row for row in rows if row.strategy == BARRIER]
    free = [row for row in rows if row.strategy == ASYNCHRONOUS]
    # Where samples were swept, the most of them: with one sample nobody waits.
    most = max((row.repeats for row in [*barrier, *free]), default=0)
    drawn = [next((row for row in rows if row.repeats == most), None) for rows in (barrier, free)]
    return [row for row in drawn if row is not None] or list(rows[:1])


def timeline_figure(calls: Mapping[str, Sequence[CallRecord]]) -> Figure:
    """A panel for each run, a line for each sample, a stroke for each call; gaps are waiting.

    Args:
        calls: of each run, by its label.
    """
    lines = {label: sorted({call.key.sample for call in run}) for label, run in calls.items()}
    last = max(call.done for run in calls.values() for call in run)
    kinds = sorted({call.key.kind for run in calls.values() for call in run}, key=_rank)
    inner = sum(HEADING + LINE * len(samples) for samples in lines.values())
    height = TOP + inner + AXIS

    def paint(drawing: FigureDrawing) -> None:
        top = float(TOP)
        draw_key(
            drawing, key_of(drawing, [KeyName(kind, KINDS.get(kind, OTHER)) for kind in kinds])
        )
        for label, run in calls.items():
            top += HEADING
            size = LINE * len(lines[label])
            axes = drawing.axes(left=LEFT, right=RIGHT, top=top, bottom=height - top - size)
            top += size
            axes.set_title(label, loc="left", fontsize=11, pad=4)
            axes.grid(visible=False, axis="y")
            axes.set_xlim(0, last * 1.01)
            axes.set_ylim(len(lines[label]) - 0.5, -0.5)
            place = {sample: n for n, sample in enumerate(lines[label])}
            for kind in kinds:
                _strokes(drawing, axes, kind, [c for c in run if c.key.kind == kind], place)
            axes.set_yticks([0, len(place) - 1], ["sample 1", f"sample {len(place)}"])
            axes.tick_params(axis="y", length=0)
            if label == list(calls)[-1]:
                axes.set_xlabel("simulated seconds")
            else:
                axes.tick_params(axis="x", labelbottom=False)

    return Figure(
        "timeline",
        "What each sample does over time",
        "The samples of one question, alone on the engines: a line is a sample, a stroke a call, "
        "and a gap is waiting. With a barrier every sample waits for the slowest of its turn.",
        paint,
        ("row", "samples", "seconds until all are done", "seconds a sample waits"),
        tuple(
            (
                label,
                str(len(lines[label])),
                f"{max(call.done for call in run):.1f}",
                f"{waiting(run):.1f}",
            )
            for label, run in calls.items()
        ),
        width=WIDTH,
        height=height,
    )


def waiting(calls: Sequence[CallRecord]) -> float:
    """Mean seconds in which a sample has no call in an engine, between its first and its last."""
    by_sample: dict[SampleId, list[CallRecord]] = {}
    for call in calls:
        by_sample.setdefault(call.key.sample, []).append(call)
    return sum(map(_gaps, by_sample.values())) / len(by_sample)


def _gaps(calls: Sequence[CallRecord]) -> float:
    """Length of the gaps between calls, some of which may overlap."""
    ordered = sorted(calls, key=lambda call: call.sent)
    gaps, end = 0.0, ordered[0].done
    for call in ordered:
        gaps += max(0.0, call.sent - end)
        end = max(end, call.done)
    return gaps


def _strokes(
    drawing: FigureDrawing,
    axes: Axes,
    kind: str,
    calls: Sequence[CallRecord],
    place: Mapping[SampleId, int],
) -> None:
    if not calls:
        return
    xs: list[float] = []
    ys: list[float] = []
    for call in calls:
        y = place[call.key.sample]
        xs += [call.sent, call.done, float("nan")]
        ys += [y, y, float("nan")]
    (line,) = axes.plot(
        xs,
        ys,
        color=drawing.series(KINDS.get(kind, OTHER)),
        lw=0.62 * LINE,
        solid_capstyle="butt",
    )
    drawing.mark(line, title=f"{kind}: {len(calls):,} calls")


def _rank(kind: str) -> int:
    return list(KINDS).index(kind) if kind in KINDS else len(KINDS)
