"""A plan as tables and lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from atts_harness.running import progress
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.plans import SimulationPlan
from atts_harness.simulation.rows import PlanRow

__all__ = ["TableRemarks", "clock", "headline", "notes", "shown_plan", "tables"]


@dataclass(frozen=True)
class TableRemarks:
    """What stands above and below the rows.

    Attributes:
        models: of the plan, in words.
        devices: GPUs in all.
        gpu: their name.
        trace: what lengths and scores are drawn from.
        repeats: recorded samples a question.
        estimated: whether the trace's tokens are estimates.
        measured: costs that were measured, by role.
        kernels: whether steps cost what measured kernel tables say.
    """

    models: str
    devices: int
    gpu: str
    trace: str
    repeats: int
    estimated: bool = False
    measured: Mapping[str, EngineCosts] = field(default_factory=dict)
    kernels: bool = False


def shown_plan(plan: SimulationPlan) -> TableRemarks:
    """What to say of a plan of one pair."""
    models = " + ".join(model.rpartition("/")[2] for model in (plan.draft, plan.target))
    return TableRemarks(
        models,
        plan.devices,
        plan.gpu.name,
        plan.trace.task,
        plan.trace.repeats,
        plan.trace.estimated,
        {str(role): costs for role, costs in plan.measured.items()},
        plan.kernels,
    )


def tables(plan: TableRemarks, rows: Sequence[PlanRow]) -> list[Table]:
    """How long, and what it takes: two tables, so that each fits a terminal of 80 columns."""
    long = _headed(headline(plan), ("GPUs", "makespan", "range", "samples/s", "p50", "p95"))
    money = ("$",) if any(row.dollars is not None for row in rows) else ()
    resources = _headed("what it takes", ("GPU h", *money, "takeover", "busy", "KV", "r"))
    for row in rows:
        long.add_row(
            *(row.label, row.split, row.at_least(clock(row.makespan))),
            row.at_least(f"{clock(row.low)}–{clock(row.high)}"),
            row.at_most(f"{row.samples_a_second:.2f}"),
            *(clock(row.p50), row.at_least(clock(row.p95))),
        )
        resources.add_row(
            row.label,
            row.at_least(f"{row.gpu_hours:.2f}"),
            *(() if row.dollars is None else (row.at_least(f"{row.dollars:.2f}"),)),
            "" if row.takeover_rate is None else f"{row.takeover_rate:.3f}",
            " / ".join(f"{engine.busy:.0%}" for engine in row.engines.values()),
            " / ".join(f"{engine.kv_peak:.0%}" for engine in row.engines.values()),
            f"{row.intensity:.2f}",
        )
    return [long, resources]


def headline(plan: TableRemarks) -> str:
    """What was planned, in a line."""
    return f"{plan.models} on {plan.devices} x {plan.gpu}, simulated"


def _headed(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title)
    table.add_column("strategy", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def clock(seconds: float) -> str:
    """Seconds as people read them: `12.3 s`, `4:05`, `1:02:03`."""
    return f"{seconds:.1f} s" if seconds < 60 else progress.clock(seconds)


def notes(plan: TableRemarks, rows: Sequence[PlanRow]) -> list[str]:
    """What to say below the tables, a line each."""
    lines = [
        f"{role}: costs measured on {costs.engine or 'an engine'}, {costs.model or 'its model'}."
        for role, costs in plan.measured.items()
    ]
    if len(lines) < 2 and plan.kernels:
        lines.append(
            "Simulated with kernel tables of aiconfigurator-core, bounded by the peak of the GPU "
            "and by prompts and decodes apart; 'range' is over half and twice the overheads, and "
            "the roofline."
        )
    elif len(lines) < 2:
        lines.append(
            "Simulated with the built-in roofline; 'range' is over half and twice its overheads."
        )
    lines += [
        "'busy' and 'KV' are by engine: share of the time, and of its KV cache at the peak. "
        "r = T_c / (T_m + T_s).",
        f"Lengths, scores and endings are drawn from {plan.trace}"
        + (" (tokens estimated from characters)" if plan.estimated else "")
        + ". What a takeover changes in what follows is not in a trace.",
    ]
    bounds = [row.label for row in rows if row.lower_bound]
    if bounds:
        lines.append(
            f"≥ is a lower bound, ≤ an upper one: {plan.repeats} recorded samples a question "
            f"cannot tell how long the longest of more of them is: {', '.join(bounds)}."
        )
    for row in rows:
        if row.failed:
            lines.append(
                f"{row.label}: {row.failed} of {row.samples} samples would FAIL ({row.failure}); "
                "its figures are of a run that lost them."
            )
        if row.bound:
            lines.append(f"{row.label}: bound by the {row.bound}.")
        if row.fewer_live:
            lines.append(
                f"{row.label}: {row.recomputed:.0%} of the tokens that scores compute are context "
                "that the prefix cache has lost, because too many samples are live. Try "
                f"live_samples={row.fewer_live}, or search for the best value: `atts plan "
                "--search`."
            )
        if len(row.splits) > 1:
            others = ", ".join(
                f"{name} {row.at_least(clock(seconds))}"
                for name, seconds in sorted(row.splits.items(), key=lambda split: split[1])
            )
            lines.append(f"{row.label}: splits tried: {others}.")
        if row.usual is not None:
            lines.append(_searched(row))
        if row.order_flips:
            others = ", ".join(row.order_flips)
            lines.append(f"{row.label}: whether it is quicker than {others} is not known.")
    return lines


def _searched(row: PlanRow) -> str:
    assert row.usual is not None
    limits = ", ".join(f"{name}={value}" for name, value in row.limits.items())
    if row.usual == row.makespan:
        return f"{row.label}: no other limits were quicker than those given ({limits})."
    usual = row.at_least(clock(row.usual))
    return f"{row.label}: quickest with {limits}; as given it takes {usual}."
