"""One run in simulated time: problems on the engines of a deployment, and what it took."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

from atts_harness.backend import Role
from atts_harness.journal.contract import MemoryJournal
from atts_harness.records import CallRecord, SampleId, SampleRecord
from atts_harness.running.observers import Observers
from atts_harness.running.session import Session
from atts_harness.settings import Settings
from atts_harness.simulation.backend import SimulatedBackend
from atts_harness.simulation.behaviour import TraceBehaviour
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.deployment import Deployment, Pricing, roofline
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineFigures, EngineLimits
from atts_harness.simulation.traces import RunTrace
from atts_harness.simulation.words import WordTokenizer
from atts_harness.strategy import Group, Problem, RunInfo, Sample, Strategy
from atts_harness.transcript import Message, Prompt

__all__ = ["SampleTally", "Simulated", "groups_of", "simulate"]

USUAL_PROMPT = 200
"""Tokens of a question, where the trace does not tell."""


@dataclass
class SampleTally:
    """What is counted of samples as they end, in a few bytes a sample.

    Attributes:
        seconds: of each, from its first call.
        judged: turns that were judged.
        takeovers: of them, those that were taken over.
        failed: samples that failed.
        failure: the first one's error.
    """

    seconds: array[float] = field(default_factory=lambda: array("d"))
    judged: int = 0
    takeovers: int = 0
    failed: int = 0
    failure: str = ""

    def add(self, record: SampleRecord) -> None:
        """Count a sample that has ended."""
        self.seconds.append(record.ended - record.started)
        for decision in record.decisions:
            if decision.judged:
                self.judged += 1
                self.takeovers += decision.takeover
        if record.failed is not None:
            self.failed += 1
            self.failure = self.failure or record.failed


@dataclass(frozen=True)
class Simulated:
    """What a simulated run took.

    Attributes:
        makespan: seconds from the first call to the last.
        records: of the samples, in order; none where they are not kept.
        tally: what was counted of the samples.
        figures: of the engines, by role.
        kv_tokens: capacity of their KV caches, by role.
    """

    makespan: float
    records: Sequence[SampleRecord]
    tally: SampleTally
    figures: Mapping[Role, EngineFigures]
    kv_tokens: Mapping[Role, int]

    @property
    def samples(self) -> int:
        """How many."""
        return len(self.tally.seconds)

    @property
    def samples_a_second(self) -> float:
        """Samples by seconds."""
        return self.samples / self.makespan if self.makespan else 0.0

    def latency(self, share: float) -> float:
        """The quantile of samples' seconds, in (0, 1)."""
        seconds = sorted(self.tally.seconds)
        if len(seconds) < 2:
            return seconds[0]
        return statistics.quantiles(seconds, n=1000, method="inclusive")[round(share * 1000) - 1]

    def busy(self, role: Role) -> float:
        """Share of the makespan in which an engine took steps."""
        return self.figures[role].busy / self.makespan if self.makespan else 0.0

    @property
    def intensity(self) -> float:
        """The paper's r = T_c / (T_m + T_s) over both engines.

        T_c is time of arithmetic, T_m of memory traffic, T_s the time in which an engine has
        nothing to do while the run goes on.
        """
        compute = sum(engine.compute for engine in self.figures.values())
        memory = sum(engine.memory for engine in self.figures.values())
        idle = sum(self.makespan - engine.busy for engine in self.figures.values())
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
    ended: Callable[[SampleRecord], None] | None = None,
    seed: int = 0,
    keep: bool = True,
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
        ended: told of every sample as it ends.
        seed: of what the models write.
        keep: whether the samples' records are kept. Without them memory does not grow with the
            number of samples beyond those that are live (`live_samples`).

    Raises:
        SettingError: the strategy's options cannot be used.
    """
    tokenizer = WordTokenizer()
    behaviour = TraceBehaviour(trace, tokenizer, seed)
    engines: dict[Role, SimulatedEngine] = {}
    tally = SampleTally()
    observers = Observers(
        call=[observe] if observe else [], sample=[tally.add, *([ended] if ended else [])]
    )

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
        journal = MemoryJournal(keep=False)
        session = Session(backends, settings.run, journal, observers, keep=keep)
        async with session:
            return await session.run(groups)

    records, makespan = run_simulated(work())
    used = {role: engines[role] for role in settings.roles}
    return Simulated(
        makespan=makespan,
        records=records,
        tally=tally,
        figures={role: engine.figures for role, engine in used.items()},
        kv_tokens={role: engine.limits.kv_tokens for role, engine in used.items()},
    )


def groups_of(
    settings: Settings,
    trace: RunTrace,
    tokenizer: WordTokenizer,
    repeats: int,
    problems: int | None = None,
) -> Sequence[Group]:
    """The problems of a simulated run, which any backend with this vocabulary could be asked.

    Args:
        settings: strategy and limits.
        trace: where the questions come from; further ones repeat them.
        tokenizer: of the simulated models.
        repeats: samples a question.
        problems: questions; by default those of the trace.
    """
    info = RunInfo(
        seed=settings.run.seed,
        provenance={},
        tokenizers=dict.fromkeys(settings.roles, tokenizer),
    )
    strategy = settings.strategy(settings.options(), info)
    return _TraceGroups(settings, trace, strategy, repeats, problems or len(trace.samples))


@dataclass(frozen=True)
class _TraceGroups(Sequence[Group]):
    """Groups that are made when they are asked for, so that a long run does not hold them all."""

    settings: Settings
    trace: RunTrace
    strategy: Strategy
    repeats: int
    problems: int

    def __len__(self) -> int:
        return self.problems

    @overload
    def __getitem__(self, doc: int) -> Group: ...
    @overload
    def __getitem__(self, doc: slice) -> Sequence[Group]: ...
    def __getitem__(self, doc: int | slice) -> Group | Sequence[Group]:
        if isinstance(doc, slice):
            return [self[number] for number in range(*doc.indices(len(self)))]
        number = range(len(self))[doc]
        problem = self._problem(number)
        ids = (SampleId(self.trace.task, number, repeat) for repeat in range(self.repeats))
        return Group(problem, tuple(Sample(id_, problem) for id_ in ids), self.strategy)

    def _problem(self, doc: int) -> Problem:
        docs = self._docs
        length = self.trace.prompts.get(docs[doc % len(docs)], USUAL_PROMPT)
        # The first words tell questions apart, so that their prompts share no cache.
        words = [f" w{doc % 512:03d}", f" w{doc // 512 % 512:03d}"]
        text = "".join([*words, *[" w000"] * max(0, length - len(words) - 3)])
        return Problem(
            task=self.trace.task,
            doc=doc,
            prompt=Prompt((Message("user", text),)),
            answered=_boxed,
            max_tokens=self.settings.max_tokens(),
            prompt_hash=f"{self.trace.task}-{doc}",
            sampling=self.settings.sampling(),
        )

    @cached_property
    def _docs(self) -> Sequence[int]:
        return list(self.trace.samples)


def _boxed(written: str) -> bool:
    return "\\boxed{" in written
