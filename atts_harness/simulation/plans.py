"""What a run would take on some GPUs: one row for each strategy, operating point and split.

plan = SimulationPlan("Qwen/...", "Qwen/QwQ-32B", gpu_of("h100"), devices=3, trace=trace)
rows = plan_rows(plan, ["atts", "synchronous"], {"repeats": ["1", "16"], "rate": ["0.2"]})
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atts_harness.backend import Role
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.records import CallRecord
from atts_harness.settings import Settings, parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.costs import GIB, GPU
from atts_harness.simulation.deployment import Deployment, deployments, place
from atts_harness.simulation.progress import SimulationProgress, show_simulation
from atts_harness.simulation.rows import EngineShare, PlanRow, row_label, with_flips
from atts_harness.simulation.running import Simulated
from atts_harness.simulation.search import LIVE, best_limits, fewer_live, recomputed
from atts_harness.simulation.simulations import RunRequest, Simulations, simulated
from atts_harness.simulation.traces import RunTrace

__all__ = [
    *("REPEATS", "WITHOUT_EFFECT", "SimulationPlan", "calls_of", "check_row", "plan_row"),
    "plan_rows",
]

REPEATS = "repeats"
MOST_DIGITS = 9
"""Of a number of samples that anybody can mean."""
FULL = 0.95
"""Share of the KV cache from which on it bounds what can run."""
OVERHEADS = (0.5, 2.0)
"""Factors of the roofline's overheads for the range of a row; see `Roofline`."""

WITHOUT_EFFECT = frozenset(
    {
        *("backend", "draft_backend", "target_backend", "run_dir", "resume", "progress"),
        *("metrics_interval", "extractor", "extractor_concurrency", "extractor_price"),
    }
)
"""Settings that say where a run is made and what it leaves, not what its models are asked."""


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
        compared: the same on fewer questions, on which splits and the ends of the range are
            compared; None: on all.
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
    compared: SimulationPlan | None = None

    @property
    def questions(self) -> int:
        """Questions of a run."""
        return self.problems or len(self.trace.samples)


def plan_rows(
    plan: SimulationPlan, strategies: Sequence[str], sweep: Mapping[str, Sequence[str]]
) -> list[PlanRow]:
    """Every strategy at every operating point that it has; progress is shown on standard error.

    Args:
        plan: what they have in common.
        strategies: names; a setting of the sweep that a strategy does not have is left out.
        sweep: by setting its values; `repeats` are samples a question.

    Raises:
        SettingError: a pair that does not fit, a setting that cannot be used, a sweep without
            values.
    """
    _check_sweep(sweep, strategies, plan.settings)
    asked = [(name, point) for name in strategies for point in _points(name, sweep, plan.settings)]
    for name, point in asked:
        check_row(plan, name, point)
    progress = SimulationProgress(len(asked))
    simulations = Simulations(progress)
    rows: list[PlanRow] = []
    with show_simulation(progress):
        for name, point in asked:
            progress.begin_row(row_label(name, point))
            rows.append(plan_row(plan, name, point, simulations))
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


def check_row(plan: SimulationPlan, strategy: str, point: Mapping[str, str]) -> None:
    """Refuse a row that cannot be, before others are simulated for minutes.

    Raises:
        SettingError: as `plan_row`.
    """
    _repeats(plan, point)
    _deployments(plan, _settings(plan, strategy, point))


def plan_row(
    plan: SimulationPlan,
    strategy: str,
    point: Mapping[str, str],
    simulations: Simulations | None = None,
) -> PlanRow:
    """One strategy at one operating point, on the split where it is quickest.

    Args:
        plan: what it runs on, and what it is told beside its point.
        strategy: its name.
        point: settings on top, as text; `repeats` are samples a question.
        simulations: makes the runs.

    Raises:
        SettingError: a pair that does not fit, or a setting that cannot be used.
    """
    made = simulations or Simulations()
    settings = _settings(plan, strategy, point)
    repeats = _repeats(plan, point)
    compared = plan.compared or plan
    runs = [
        (deployment, made.run(_request(compared, settings, deployment, repeats)))
        for deployment in _deployments(plan, settings)
    ]
    deployment, part = min(runs, key=lambda run: run[1].makespan)
    run = made.run(_request(plan, settings, deployment, repeats))
    # In proportion: what is compared is the split, not the number of samples.
    longer = _ratio(run, part)
    splits = {placed.name: run.makespan * longer for placed, run in runs}
    limits: dict[str, int] = {}
    usual = None
    fewer = 0 if LIVE in point else fewer_live(settings.run, run)
    if plan.search:

        def limited(limits: Mapping[str, int]) -> Settings:
            texts = {name: str(value) for name, value in limits.items()}
            return _settings(plan, strategy, {**point, **texts})

        def tried(limits: Mapping[str, int]) -> Simulated:
            return made.run(_request(plan, limited(limits), deployment, repeats))

        usual = run.makespan
        hints = {LIVE: fewer} if fewer else {}
        limits, run = best_limits(_limits_of(settings, point), run, tried, hints)
        settings, fewer = limited(limits), 0
    low, high = _range(plan, _request(compared, settings, deployment, repeats), run, made)
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
        low=low,
        high=high,
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
        recomputed=recomputed(run),
        fewer_live=fewer,
    )


def _range(
    plan: SimulationPlan, compared: RunRequest, run: Simulated, made: Simulations
) -> tuple[float, float]:
    """The makespan's range over the cost model, in proportion to that of the run compared on."""
    others = [replace(compared, overheads=factor) for factor in OVERHEADS]
    if plan.kernels:
        others.append(replace(compared, kernels=False))
    longer = _ratio(run, made.run(compared))
    ends = [made.run(other).makespan * longer for other in others]
    return min(run.makespan, *ends), max(run.makespan, *ends)


def _ratio(run: Simulated, other: Simulated) -> float:
    return run.makespan / other.makespan if other.makespan else 1.0


def calls_of(plan: SimulationPlan, row: PlanRow, samples: int) -> list[CallRecord]:
    """Every call of the samples of one question, as many as `samples`, alone on a row's engines.

    Args:
        plan: that the row is of.
        row: its strategy, operating point and split.
        samples: at most so many.
    """
    settings = _settings(plan, row.strategy, row.point)
    (deployment,) = [placed for placed in _deployments(plan, settings) if placed.name == row.split]
    docs = min(plan.questions, len(plan.trace.samples))
    middle = list(plan.trace.samples)[docs // 2]
    trace = replace(plan.trace, samples={middle: plan.trace.samples[middle]})
    alone = replace(plan, trace=trace, problems=1)
    calls: list[CallRecord] = []
    simulated(_request(alone, settings, deployment, min(samples, row.repeats)), calls.append)
    return calls


def _request(
    plan: SimulationPlan,
    settings: Settings,
    deployment: Deployment,
    repeats: int,
) -> RunRequest:
    return RunRequest(
        settings, plan.trace, deployment, repeats, plan.questions, plan.measured, plan.kernels
    )


def _drawn(plan: SimulationPlan, repeats: int) -> int:
    """Samples that are drawn from one recorded question, which stands for several if need be."""
    recorded = len(plan.trace.samples)
    return repeats * -(-plan.questions // recorded)


def _limits_of(settings: Settings, point: Mapping[str, str]) -> dict[str, int]:
    """The limits that a strategy has and that its point leaves open."""
    names = []
    if "draft" in settings.roles:
        names.append("draft_concurrency")
    if "target" in settings.roles:
        names += ["score_concurrency"] if settings.strategy.scores else []
        names.append("takeover_concurrency")
    if settings.run.live_samples:
        names.append(LIVE)
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
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < 1:
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
