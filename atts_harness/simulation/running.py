"""One run in simulated time: problems on the engines of a deployment, and what it took."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from atts_harness.backend import Role
from atts_harness.journal.contract import MemoryJournal
from atts_harness.records import CallRecord, SampleId, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.settings import Settings
from atts_harness.simulation.backend import SimulatedBackend
from atts_harness.simulation.behaviour import TraceBehaviour
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.deployment import Deployment, Pricing, roofline
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineFigures, EngineLimits
from atts_harness.simulation.traces import RunTrace
from atts_harness.simulation.words import WordTokenizer
from atts_harness.strategy import Group, Problem, RunInfo, Sample
from atts_harness.transcript import Message, Prompt

__all__ = ["Simulated", "simulate"]

USUAL_PROMPT = 200
"""Tokens of a question, where the trace does not tell."""


@dataclass(frozen=True)
class Simulated:
    """What a simulated run took.

    Attributes:
        makespan: seconds from the first call to the last.
        records: of the samples, in order.
        figures: of the engines, by role.
        kv_tokens: capacity of their KV caches, by role.
    """

    makespan: float
    records: Sequence[SampleRecord]
    figures: Mapping[Role, EngineFigures]
    kv_tokens: Mapping[Role, int]

    @property
    def samples_a_second(self) -> float:
        """Samples by seconds."""
        return len(self.records) / self.makespan if self.makespan else 0.0

    def latency(self, share: float) -> float:
        """The quantile of samples' seconds, in (0, 1)."""
        seconds = sorted(record.ended - record.started for record in self.records)
        if len(seconds) < 2:
            return seconds[0]
        return statistics.quantiles(seconds, n=1000, method="inclusive")[round(share * 1000) - 1]

    @property
    def judged(self) -> tuple[int, int]:
        """Turns that were judged, and those of them that were taken over."""
        decisions = [d for record in self.records for d in record.decisions if d.judged]
        return len(decisions), sum(d.takeover for d in decisions)

    def busy(self, role: Role) -> float:
        """Share of the makespan in which an engine took steps."""
        return self.figures[role].busy / self.makespan if self.makespan else 0.0

    @property
    def intensity(self) -> float:
        """The paper's r = T_c / (T_m + T_s) over both engines.

        T_c is time of arithmetic, T_m of memory traffic, T_s the time in which an engine has
        nothing to do while the run goes on.
        """
        compute = sum(one.compute for one in self.figures.values())
        memory = sum(one.memory for one in self.figures.values())
        idle = sum(self.makespan - one.busy for one in self.figures.values())
        return compute / (memory + idle) if memory + idle > 0 else 0.0


def simulate(
    settings: Settings,
    trace: RunTrace,
    deployment: Deployment,
    *,
    repeats: int,
    problems: int | None = None,
    limits: EngineLimits | Mapping[Role, EngineLimits] | None = None,
    pricing: Pricing = roofline,
    latency: Mapping[Role, float] | None = None,
    observe: Callable[[CallRecord], None] | None = None,
    seed: int = 0,
) -> Simulated:
    """Run a strategy in simulated time.

    Args:
        settings: strategy and limits, as `parse_settings` makes them.
        trace: what the models write.
        deployment: where they run.
        repeats: samples a question.
        problems: questions; by default those of the trace.
        limits: how the engines are set up, all or by role; `kv_tokens` is the deployment's.
        pricing: the cost model of a placement.
        latency: seconds of a call from the client to an engine and back, by role; default none.
        observe: told of every call.
        seed: of what the models write.

    Raises:
        SettingError: the strategy's options cannot be.
    """
    tokenizer = WordTokenizer()
    behaviour = TraceBehaviour(trace, tokenizer, seed)
    engines: dict[Role, SimulatedEngine] = {}
    observers = Observers(call=[observe]) if observe is not None else Observers()

    async def work() -> list[SampleRecord]:
        engines.update(deployment.engines(limits or EngineLimits(kv_tokens=0), pricing))
        backends = {
            role: SimulatedBackend(
                engines[role],
                behaviour,
                tokenizer,
                model=deployment.placements[role].shape.name,
                max_length=1 << 20,
                latency=(latency or {}).get(role, 0.0),
            )
            for role in settings.roles
        }
        groups = groups_of(settings, trace, tokenizer, repeats, problems)
        options = settings.run
        journal = MemoryJournal(keep=False)
        return await run_groups(groups, backends, options, journal, observers)

    records, makespan = run_simulated(work())
    used = {role: engines[role] for role in settings.roles}
    return Simulated(
        makespan=makespan,
        records=records,
        figures={role: engine.figures for role, engine in used.items()},
        kv_tokens={role: engine.limits.kv_tokens for role, engine in used.items()},
    )


def groups_of(
    settings: Settings,
    trace: RunTrace,
    tokenizer: WordTokenizer,
    repeats: int,
    problems: int | None = None,
) -> list[Group]:
    """The problems of a simulated run, which any backend with this vocabulary could be asked.

    Args:
        settings: strategy and limits.
        trace: whose questions they are; further ones repeat them.
        tokenizer: of the simulated models.
        repeats: samples a question.
        problems: questions; by default those of the trace.
    """
    options = settings.options()
    info = RunInfo(
        seed=settings.run.seed,
        provenance={},
        tokenizers=dict.fromkeys(settings.roles, tokenizer),
    )
    strategy = settings.strategy(options, info)
    docs = list(trace.samples)
    groups = []
    for doc in range(problems or len(docs)):
        length = trace.prompts.get(docs[doc % len(docs)], USUAL_PROMPT)
        # The first words tell questions apart, so that their prompts share no cache.
        words = [f" w{doc % 512:03d}", f" w{doc // 512 % 512:03d}"]
        text = "".join([*words, *[" w000"] * max(0, length - len(words) - 3)])
        problem = Problem(
            task=trace.task,
            doc=doc,
            prompt=Prompt((Message("user", text),)),
            answered=lambda written: "\\boxed{" in written,
            max_tokens=settings.max_tokens(),
            prompt_hash=f"{trace.task}-{doc}",
            sampling=settings.sampling(),
        )
        samples = tuple(
            Sample(SampleId(trace.task, doc, repeat), problem) for repeat in range(repeats)
        )
        groups.append(Group(problem, samples, strategy))
    return groups
