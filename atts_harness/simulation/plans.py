"""What a run would take on some GPUs: one row for each strategy, operating point and split.

plan = Plan(draft="Qwen/...", target="Qwen/QwQ-32B", gpu=gpu_of("h100"), devices=3, trace=trace)
rows = plan_rows(plan, ["atts", "synchronous"], {"repeats": ["1", "16"], "rate": ["0.2"]})
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atts_harness.backend import Role
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.records import CallRecord
from atts_harness.settings import Settings, parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.costs import GIB, GPU, CostModel, Roofline
from atts_harness.simulation.deployment import (
    Deployment,
    Placement,
    deployments,
    place,
    roofline,
)
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.kernels import kernels
from atts_harness.simulation.rows import EngineShare, PlanRow, with_flips
from atts_harness.simulation.running import Simulated, simulate
from atts_harness.simulation.search import best_limits
from atts_harness.simulation.traces import RunTrace

__all__ = ["REPEATS", "SimulationPlan", "calls_of", "plan_row", "plan_rows"]

REPEATS = "repeats"
FULL = 0.95
"""Share of the KV cache from which on it bounds what can run."""
OVERHEADS = {"low": 0.5, "high": 2.0}
"""Factors of the roofline's overheads for the range of a row; see `Roofline`."""


@dataclass(frozen=True)
class SimulationPlan:
    """What all rows have in common.

    Attributes:
        draft: hub id or folder.
        target: likewise.
        gpu: the device.
        devices: GPUs in all.
        trace: what the models write.
        split: GPUs of draft and target; None: every split is tried and the quickest kept.
        settings: further settings of every row, as in `model_args`.
        price: dollars per GPU hour; None: no money is shown.
        problems: questions; None: those of the trace.
        measured: costs that were measured on running engines, by role, in place of the roofline's.
        search: whether the limits are searched for with which each row is quickest.
        kernels: whether steps cost what measured kernel tables say; the range then spans the
            roofline, too.
        most_compared: samples, in whole questions, on which splits and the ends of the range are
            compared, where the run has more of them; None: on all.
    """

    draft: str
    target: str
    gpu: GPU
    devices: int
    trace: RunTrace
    split: tuple[int, int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    price: float | None = None
    problems: int | None = None
    measured: Mapping[Role, EngineCosts] = field(default_factory=dict)
    search: bool = False
    kernels: bool = False
    most_compared: int | None = None


def plan_rows(
    plan: SimulationPlan, strategies: Sequence[str], sweep: Mapping[str, Sequence[str]]
) -> list[PlanRow]:
    """Every strategy at every operating point that it has.

    Args:
        plan: what they have in common.
        strategies: names; a setting of the sweep that a strategy does not have is left out.
        sweep: by setting its values; `repeats` are samples a question.

    Raises:
        SettingError: a pair that does not fit, a setting that cannot be used, a sweep without
            values.
    """
    _check_sweep(sweep, strategies, plan.settings)
    rows: list[PlanRow] = []
    for name in strategies:
        for point in _points(name, sweep, plan.settings):
            rows.append(plan_row(plan, name, point))
    return [with_flips(row, rows) for row in rows]


def _points(
    strategy: str, sweep: Mapping[str, Sequence[str]], settings: Mapping[str, Any]
) -> Iterator[dict[str, str]]:
    names = [name for name in sweep if name in _swept(strategy, settings)]
    for values in itertools.product(*(sweep[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _check_sweep(
    sweep: Mapping[str, Sequence[str]], strategies: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Refuse a sweep without values, or of a setting that no strategy has."""
    names = [name for strategy in strategies for name in _swept(strategy, settings)]
    for name, values in sweep.items():
        if name not in names:
            raise UnknownSettingError(name, names, "--sweep")
        if not values:
            raise SettingError(f"--sweep {name}=: give values, such as {name}=1,4,16")


def _swept(strategy: str, settings: Mapping[str, Any]) -> list[str]:
    """What can be swept: a strategy's options, those of every run, and the repeats."""
    from atts_harness.settings import RunOptions, kind_of

    options = kind_of(strategy, settings).Options
    return [REPEATS, *options.__struct_fields__, *RunOptions.__struct_fields__]


def plan_row(plan: SimulationPlan, strategy: str, point: Mapping[str, str]) -> PlanRow:
    """One strategy at one operating point, on the split where it is quickest.

    Args:
        plan: what it runs on, and what it is told beside its point.
        strategy: its name.
        point: settings on top, as text; `repeats` are samples a question.

    Raises:
        SettingError: a pair that does not fit, or a setting that cannot be used.
    """
    settings = _settings(plan, strategy, point)
    repeats = _repeats(plan, point)
    part = _part(plan, repeats)
    runs = [
        (deployment, _simulated(part, settings, deployment, repeats, 1.0))
        for deployment in _deployments(plan, settings)
    ]
    deployment, run = min(runs, key=lambda run: run[1].makespan)
    splits = {placed.name: run.makespan for placed, run in runs}
    if part is not plan:
        run = _simulated(plan, settings, deployment, repeats, 1.0)
    limits: dict[str, int] = {}
    usual = None
    if plan.search:

        def tried(limits: Mapping[str, int]) -> Simulated:
            options = _settings(plan, strategy, {**point, **_texts(limits)})
            return _simulated(plan, options, deployment, repeats, 1.0)

        usual = run.makespan
        limits, run = best_limits(_limits_of(settings, point), run, tried)
        settings = _settings(plan, strategy, {**point, **_texts(limits)})
    ends = [
        _simulated(part, settings, deployment, repeats, factor).makespan
        for factor in OVERHEADS.values()
    ]
    if plan.kernels:
        other = replace(part, kernels=False)
        ends.append(_simulated(other, settings, deployment, repeats, 1.0).makespan)
    if part is not plan:
        # In proportion: what is compared is the split and the overheads, not the number of samples.
        factor = run.makespan / splits[deployment.name]
        splits = {name: seconds * factor for name, seconds in splits.items()}
        ends = [seconds * factor for seconds in ends]
    tally = run.tally
    hours = deployment.devices * run.makespan / 3600
    return PlanRow(
        strategy=strategy,
        point=dict(point),
        split=deployment.name,
        problems=run.samples // repeats,
        repeats=repeats,
        samples=run.samples,
        makespan=run.makespan,
        low=min(run.makespan, *ends),
        high=max(run.makespan, *ends),
        samples_a_second=run.samples_a_second,
        p50=run.latency(0.5),
        p95=run.latency(0.95),
        gpu_hours=hours,
        dollars=None if plan.price is None else hours * plan.price,
        takeover_rate=tally.takeovers / tally.judged if tally.judged else None,
        intensity=run.intensity,
        engines=_engines(run, deployment),
        bound=_bound(run),
        failed=tally.failed,
        failure=tally.failure,
        lower_bound=_drawn(plan, repeats) > plan.trace.repeats,
        splits=splits,
        limits=limits,
        usual=usual,
    )


def calls_of(plan: SimulationPlan, row: PlanRow, samples: int) -> list[CallRecord]:
    """Every call of the samples of one question, as many as `samples`, alone on a row's engines.

    Args:
        plan: that the row is of.
        row: its strategy, operating point and split.
        samples: at most so many.
    """
    settings = _settings(plan, row.strategy, row.point)
    (deployment,) = [placed for placed in _deployments(plan, settings) if placed.name == row.split]
    docs = min(plan.problems or len(plan.trace.samples), len(plan.trace.samples))
    middle = list(plan.trace.samples)[docs // 2]
    trace = replace(plan.trace, samples={middle: plan.trace.samples[middle]})
    calls: list[CallRecord] = []
    alone = replace(plan, trace=trace, problems=1)
    _simulated(alone, settings, deployment, min(samples, row.repeats), 1.0, calls.append)
    return calls


def _drawn(plan: SimulationPlan, repeats: int) -> int:
    """Samples that are drawn from one recorded question, which stands for several if need be."""
    recorded = len(plan.trace.samples)
    return repeats * -(-(plan.problems or recorded) // recorded)


def _part(plan: SimulationPlan, repeats: int) -> SimulationPlan:
    """The plan on as many questions as splits are compared on; the plan itself where that is all.

    The questions are spread over those of the plan, because a trace may be in order of difficulty.
    """
    docs = plan.problems or len(plan.trace.samples)
    if plan.most_compared is None or docs * repeats <= plan.most_compared:
        return plan
    count = max(1, plan.most_compared // repeats)
    return replace(plan, trace=plan.trace.spread(count, docs), problems=count)


def _texts(limits: Mapping[str, int]) -> dict[str, str]:
    return {name: str(value) for name, value in limits.items()}


def _limits_of(settings: Settings, point: Mapping[str, str]) -> dict[str, int]:
    """The limits that a strategy has and that its point leaves open."""
    names = []
    if "draft" in settings.roles:
        names.append("draft_concurrency")
    if "target" in settings.roles:
        names += ["score_concurrency"] if settings.strategy.scores else []
        names.append("takeover_concurrency")
    return {name: getattr(settings.run, name) for name in names if name not in point}


def _settings(plan: SimulationPlan, strategy: str, point: Mapping[str, str]) -> Settings:
    return parse_settings(
        {
            **plan.settings,
            **{name: value for name, value in point.items() if name != REPEATS},
            "strategy": strategy,
            "backend": "simulated",
            "draft": plan.draft,
            "target": plan.target,
            "metrics_interval": 0,
        }
    )


def _repeats(plan: SimulationPlan, point: Mapping[str, str]) -> int:
    text = point.get(REPEATS, str(plan.trace.repeats))
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(f"--sweep {REPEATS}={text}: expected whole numbers from 1 on")
    return int(text)


def _deployments(plan: SimulationPlan, settings: Settings) -> list[Deployment]:
    names: dict[Role, str] = {"draft": plan.draft, "target": plan.target}
    models = {role: shape_of(name) for role, name in names.items() if role in settings.roles}
    least = min(settings.max_tokens(), *(shape.window for shape in models.values()))
    if plan.split is not None:
        split = dict(zip(names, plan.split, strict=True))
        return [place(models, plan.gpu, split, least_tokens=least)]
    return deployments(models, plan.gpu, plan.devices, least_tokens=least)


def _simulated(
    plan: SimulationPlan,
    settings: Settings,
    deployment: Deployment,
    repeats: int,
    factor: float,
    observe: Callable[[CallRecord], None] | None = None,
) -> Simulated:
    """A run; a roofline's overheads are taken times `factor`, what was measured is as it is."""

    def pricing(placement: Placement) -> CostModel:
        costs = plan.measured.get(placement.role)
        if costs is not None:
            return costs.cost
        usual = _scaled(roofline(placement), factor)
        return kernels(usual) if plan.kernels else usual

    return simulate(
        settings,
        plan.trace,
        deployment,
        repeats=repeats,
        problems=plan.problems,
        limits={role: _limits(plan.measured.get(role)) for role in deployment.placements},
        pricing=pricing,
        latency={role: costs.latency for role, costs in plan.measured.items()},
        observe=observe,
        keep=False,
    )


def _limits(costs: EngineCosts | None) -> EngineLimits:
    usual = EngineLimits(kv_tokens=0)
    if costs is None:
        return usual
    return replace(usual, scores_read_cache=costs.scores_read_cache)


def _scaled(usual: Roofline, factor: float) -> Roofline:
    return replace(
        usual,
        layer_seconds=usual.layer_seconds * factor,
        step_seconds=usual.step_seconds * factor,
        sequence_seconds=usual.sequence_seconds * factor,
        hop_seconds=usual.hop_seconds * factor,
    )


def _engines(run: Simulated, deployment: Deployment) -> dict[str, EngineShare]:
    shapes = {role: placement.shape for role, placement in deployment.placements.items()}
    return {
        role: EngineShare(
            busy=run.busy(role),
            kv_tokens=run.kv_tokens[role],
            kv_peak=figures.kv_peak / run.kv_tokens[role],
            computed=figures.computed_tokens,
            cached=figures.cached_tokens,
            written=figures.written_tokens,
            preemptions=figures.preemptions,
            memory=(shapes[role].weight_bytes + shapes[role].kv_bytes * figures.kv_peak) / GIB,
        )
        for role, figures in run.figures.items()
    }


def _bound(run: Simulated) -> str:
    roles: list[Role] = [
        role
        for role, figures in run.figures.items()
        if figures.preemptions or figures.kv_peak > FULL * run.kv_tokens[role]
    ]
    return " and ".join(f"KV cache of the {role}" for role in roles)
