"""The columns of a plan's page: those of the report, and what only a plan has.

A plan's rows become rows of a leaderboard without an accuracy, so that a figure that a report also
has is written, named and explained in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from atts_harness.analysis.leaderboard import numbers
from atts_harness.analysis.leaderboard.column import Column, stands
from atts_harness.analysis.leaderboard.columns import TAKEOVER, columns_of
from atts_harness.analysis.leaderboard.columns_of_time import TIME
from atts_harness.analysis.leaderboard.rows import Interval, Pair, Row, RowSource, Takeover
from atts_harness.analysis.leaderboard.spent import Speed
from atts_harness.results.statistics import TokensPerSample
from atts_harness.simulation.rows import PlanRow

__all__ = ["leaderboard_rows", "plan_columns"]

GPUS, ENGINES = "GPUs", "engines"
BOUNDS: Mapping[str, Callable[[PlanRow, str], str]] = {
    "speed.makespan": PlanRow.at_least,
    "speed.latency_p95": PlanRow.at_least,
    "speed.samples_per_second": PlanRow.at_most,
    "dollars": PlanRow.at_least,
}
"""Columns of the report that are bounds only in a row whose longest sample is not known."""


def leaderboard_rows(rows: Sequence[PlanRow], models: str, task: str) -> dict[str, Row]:
    """Rows of a leaderboard without an accuracy, by id, in the same order.

    Args:
        rows: of the plan.
        models: of the plan, in words.
        task: what lengths and scores are drawn from.
    """
    return {f"plan-{n}": _row(f"plan-{n}", row, rows, models, task) for n, row in enumerate(rows)}


def plan_columns(plan: Mapping[str, PlanRow], rows: Sequence[Row]) -> list[Column]:
    """What the page shows of a plan's rows; a column of which no row has a figure is left out.

    Args:
        plan: the rows by id.
        rows: the same as a leaderboard's.
    """
    shared = [
        _bounded(column, plan)
        for column in columns_of(rows)
        if any(column.value(row) is not None for row in rows)
        and column.page != "extra"
        and stands(column.page, column, rows)
    ]
    groups = dict.fromkeys([TIME, TAKEOVER, *(column.group for column in shared)])
    ordered = [column for group in groups for column in shared if column.group == group]
    return [_split(plan), _range(plan), *ordered, *_engines(plan)]


def _row(id_: str, row: PlanRow, rows: Sequence[PlanRow], models: str, task: str) -> Row:
    engines = row.engines

    def tokens(role: str, computed: bool) -> float | None:
        if role not in engines:
            return None
        engine = engines[role]
        return (engine.written + (engine.computed if computed else 0)) / row.samples

    return Row(
        id=id_,
        label=row.label,
        strategy=row.strategy,
        pair=Pair(name=models),
        task=task,
        point={name: _number(value) for name, value in row.point.items()},
        problems=row.problems,
        repeats=row.repeats,
        samples=row.samples,
        failed=row.failed,
        takeover=None
        if row.takeover_rate is None
        else Takeover(realised=Interval(value=row.takeover_rate)),
        tokens=TokensPerSample(
            draft_computed=tokens("draft", computed=True),
            draft_written=tokens("draft", computed=False),
            target_computed=tokens("target", computed=True),
            target_written=tokens("target", computed=False),
        ),
        speed=Speed(
            makespan=row.makespan,
            samples_per_second=row.samples_a_second,
            latency_p50=row.p50,
            latency_p95=row.p95,
            speedup_target_only=_speedup(row, rows, "target-only"),
            speedup_synchronous=_speedup(row, rows, "synchronous"),
        ),
        peak_kv={role: engine.kv_peak for role, engine in engines.items()},
        dollars={} if row.dollars is None else {"in all": row.dollars},
        source=RowSource(kind="run"),
    )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _speedup(row: PlanRow, rows: Sequence[PlanRow], strategy: str) -> float | None:
    """Against the one row of a strategy whose settings agree, as far as it has them."""
    others = [
        other
        for other in rows
        if other.strategy == strategy
        and other.samples == row.samples
        and all(row.point.get(name, value) == value for name, value in other.point.items())
    ]
    return others[0].makespan / row.makespan if len(others) == 1 else None


def _split(plan: Mapping[str, PlanRow]) -> Column:
    return Column(
        "split",
        "gpus",
        "draft + target",
        GPUS,
        lambda row: plan[row.id].split,
        about="GPUs of each model; shared: both on the same ones, taking turns",
        words=True,
    )


def _range(plan: Mapping[str, PlanRow]) -> Column:
    def cell(row: Row) -> str:
        low, high = plan[row.id].low, plan[row.id].high
        return plan[row.id].at_least(f"{numbers.seconds(low)} to {numbers.seconds(high)}")

    return Column(
        "high",
        "range",
        "range s",
        TIME,
        lambda row: plan[row.id].high,
        cell=cell,
        about="the makespan with half and with twice the overheads of the cost model",
    )


def _engines(plan: Mapping[str, PlanRow]) -> list[Column]:
    roles = list(dict.fromkeys(role for row in plan.values() for role in row.engines))

    def of(role: str, key: str, title: str, about: str, write: Callable[[float], str]) -> Column:
        return Column(
            f"engines.{role}.{key}",
            f"{key}_{role}",
            f"{title} {role}",
            ENGINES,
            lambda row: getattr(plan[row.id].engines.get(role), key, None),
            write,
            about=about,
        )

    busy = "share of the makespan in which the engine takes steps"
    memory = "GiB of weights and of the most KV cache in use at a time"
    return [
        *(of(role, "busy", "busy", busy, lambda value: f"{value:.0%}") for role in roles),
        *(of(role, "memory", "GiB", memory, lambda value: f"{value:.0f}") for role in roles),
        Column(
            "intensity",
            "intensity",
            "r",
            ENGINES,
            lambda row: plan[row.id].intensity,
            lambda value: f"{value:.2f}",
            about="the paper's T_c / (T_m + T_s): arithmetic against memory traffic and idle "
            "engines",
        ),
        Column(
            "gpu_hours",
            "gpu_hours",
            "GPU-hours",
            ENGINES,
            lambda row: plan[row.id].gpu_hours,
            cell=lambda row: plan[row.id].at_least(f"{plan[row.id].gpu_hours:.2f}"),
            about="GPUs times makespan",
        ),
    ]


def _bounded(column: Column, plan: Mapping[str, PlanRow]) -> Column:
    """The column, with a mark where a row's figure is a bound only."""
    mark = BOUNDS.get(column.key)
    if mark is None:
        return column
    return replace(column, cell=lambda row: mark(plan[row.id], column.show(row)))
