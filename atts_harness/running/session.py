"""A live session: samples come and go, and everything that they share is the session's.

    async with Harness.serving(settings) as session:
        record = await session.sample(problem)

Limits, priorities, retries, faults, journal, ledger and calibration are the session's. There is one
coroutine a sample and no barrier between samples, turns or problems. A batch is a list of groups
that is handed to a session (`running.batch`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Self
from weakref import WeakKeyDictionary

from atts_harness import neutral
from atts_harness.backend import Backend, Role
from atts_harness.errors import (
    JournalError,
    RunIncompleteError,
    RunInterruptedError,
    SettingError,
    TooManyFailuresError,
)
from atts_harness.journal.contract import Journal
from atts_harness.journal.plan import planned, task_entry
from atts_harness.lanes import lanes_of
from atts_harness.records import EXTRACTOR, SampleId, SampleRecord
from atts_harness.running.admission import Admission
from atts_harness.running.client import RunCalls
from atts_harness.running.clock import Clock
from atts_harness.running.context import RunState
from atts_harness.running.control import Control
from atts_harness.running.engine import Engine
from atts_harness.running.extraction import Extraction
from atts_harness.running.gate import Gate
from atts_harness.running.interrupts import GRACE_SECONDS
from atts_harness.running.observers import Observers
from atts_harness.running.opening import check_contexts, engine_of, engines_of
from atts_harness.running.polling import Polling
from atts_harness.running.producing import Producer
from atts_harness.running.slots import Slots
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, Problem, Sample, Strategy

logger = neutral.logger("atts_harness.running")

LAST_COMMIT_SECONDS = 0.1

__all__ = ["Session"]


class Session:
    """Produces samples as they are asked for, until it is closed. Use as `async with`.

    All of it happens in the event loop that enters it, and by that loop's clock, so a session in
    simulated time is the same session.

    Args:
        backends: by role; roles may share one, and then share its slots.
        options: limits, retries, seed.
        journal: where calls and decisions are recorded, and replayed from.
        observers: called with every record.
        control: how the session is watched and stopped from outside.
        extractor: the model that extracts the answers of samples as they end; None: none does.
        strategy_of: makes a task's strategy when its first sample is asked for; a sample may bring
            one of its own.
        engines: by role, where other sessions use them, too: somebody else watches and closes them.
        keep: whether a batch's records are kept until it is over; else only observers get them.
    """

    def __init__(
        self,
        backends: Mapping[Role, Backend],
        options: RunOptions,
        journal: Journal,
        observers: Observers | None = None,
        control: Control | None = None,
        extractor: Backend | None = None,
        strategy_of: Callable[[str], Strategy] | None = None,
        engines: Mapping[Role, Engine] | None = None,
        keep: bool = True,
    ) -> None:
        self.control = control or Control()
        self.finished: dict[SampleId, SampleRecord] = {}
        """Records of a batch that is running, by their ids."""
        self._backends = backends
        self._options = options
        self._journal = journal
        self._watchers = observers or Observers()
        self._extractor = extractor
        self._strategy_of = strategy_of
        self._shared, self._keeps = engines, keep
        self._strategies: dict[str, Strategy] = {}
        self._folded: WeakKeyDictionary[Strategy, set[str]] = WeakKeyDictionary()
        self._repeats: Counter[tuple[str, int]] = Counter()
        self._in_progress: set[SampleId] = set()
        self._cancelled: set[SampleId] = set()
        self._admission = Admission(self.control, options.live_samples)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: RunIncompleteError | None = None

    async def __aenter__(self) -> Self:
        """Begin: the clock runs, engines are watched."""
        options = self._options
        self._before = self._journal.sequence
        clock = self.control.clock = Clock(self._journal.elapsed)
        by_role = self._shared or engines_of(self._backends, options, clock)
        engines = list({id(engine): engine for engine in by_role.values()}.values())
        self._own_engines = [] if self._shared else list(engines)
        calls = RunCalls(self._journal, clock, options.retries, self._watchers.call)
        extraction: Extraction | None = None
        if self._extractor is not None:
            slots = Slots({**lanes_of(options), "takeover": options.extractor_concurrency})
            engine = engine_of(EXTRACTOR, self._extractor, slots, options, clock)
            extraction = Extraction(engine, calls)
            engines.append(engine)
            self._own_engines.append(engine)
        self.control.engines = engines
        watchers = self._watchers
        state = RunState(
            options.seed, calls, by_role, watchers.decision, watchers.transcript, [self._before]
        )
        self._producer = Producer(
            state, options.sample_timeout, extraction, self._admission.leave, self._keep
        )
        for engine in self._own_engines:
            engine.watch()
        interval = options.metrics_interval
        self._polling = Polling(self.control, self._journal, self._watchers, interval)
        self._polling.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """End it; calls in flight get a moment to finish, unless an error is on its way."""
        try:
            if kind is None and self._in_progress:
                await self.wind_down("the session was closed")
            if kind is None:
                await self._polling.look_last()
        finally:
            self._end("the session was closed")
            for task in self._tasks:
                task.cancel()
            ending = [self._polling.stop(), *(engine.aclose() for engine in self._own_engines)]
            await asyncio.gather(*self._tasks, *ending, return_exceptions=True)

    async def sample(
        self, problem: Problem, *, repeat: int | None = None, strategy: Strategy | None = None
    ) -> SampleRecord:
        """Produce one sample. May be called at any time, beside other samples.

        Cancelling the caller cancels the sample and frees what it holds in the engines; it is no
        longer asked for then. One that fails for good has `failed` set, and is returned.

        Args:
            problem: the question. `task` and `doc` name it in records and seeds.
            repeat: which sample of the problem; by default the next one. With a run directory a
                sample that is recorded is returned as it is, and one that was cut short goes on.
            strategy: produces it; by default the session's for this task.

        Raises:
            SettingError: the problem does not fit a model's context, the strategy gathers siblings
                (see `group`), or this very sample is in progress.
            RunIncompleteError: the session is stopped or given up, or an engine is gone for good.
            JournalError: the journal cannot be written, or holds something else under this name.
        """
        strategy = strategy or self._strategy(problem.task)
        if strategy.grouped:
            raise SettingError(
                f"strategy {strategy.name}: the samples of a problem share results; ask for them "
                f"together: session.group(problem, samples=N)"
            )
        number = self._next(problem, 1)[0] if repeat is None else repeat
        (record,) = await self._produce(problem, [number], strategy)
        return record

    async def group(
        self,
        problem: Problem,
        samples: int | Sequence[int],
        *,
        strategy: Strategy | None = None,
    ) -> list[SampleRecord]:
        """Produce several samples of a problem; those of a strategy that gathers share a gate.

        Args:
            problem: the question.
            samples: their number, or the repeats themselves.
            strategy: produces it; by default the session's for this task.

        Returns:
            Their records, in order of `samples`.

        Raises:
            SettingError: as `sample` does, of any of them.
            RunIncompleteError: as `sample` does.
            JournalError: as `sample` does.
        """
        strategy = strategy or self._strategy(problem.task)
        repeats = self._next(problem, samples) if isinstance(samples, int) else list(samples)
        return await self._produce(problem, repeats, strategy)

    async def run(self, groups: Sequence[Group]) -> list[SampleRecord]:
        """Produce all samples of a batch, except those that `finished` already has.

        Args:
            groups: problems with their samples and strategy; the journal must have them already.

        Raises:
            RunIncompleteError: stopped, given up for too many failures, or an engine is gone for
                good.
            JournalError: the journal cannot be written, or its records contradict this run.
        """
        self._fold(groups)
        with _first_error():
            async with asyncio.TaskGroup() as tasks:
                for group in groups:
                    await self._begin(group, tasks)
        ids = [s.id for group in groups for s in group.samples] if self._keeps else []
        return self._take_records(ids)

    async def wind_down(self, reason: str) -> None:
        """Begin no more calls, let those in flight finish for a while, and cancel what is left.

        Args:
            reason: message of the `RunInterruptedError` of samples that are not finished.
        """
        for engine in self._own_engines:
            engine.slots.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.gather(*(engine.slots.idle() for engine in self.control.engines))
        if self._tasks:  # samples that are just finishing
            await asyncio.wait(self._tasks, timeout=LAST_COMMIT_SECONDS)
        self._end(reason)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def missing(self, ids: Iterable[SampleId]) -> list[SampleId]:
        """The samples among `ids` that are not finished."""
        return [id_ for id_ in ids if id_ not in self.finished]

    def _strategy(self, task: str) -> Strategy:
        strategy = self._strategies.get(task)
        if strategy is None:
            if self._strategy_of is None:
                raise SettingError(f"task {task}: the session has no strategy; give strategy=")
            strategy = self._strategies[task] = self._strategy_of(task)
        return strategy

    def _next(self, problem: Problem, count: int) -> list[int]:
        first = self._repeats[problem.task, problem.doc]
        self._repeats[problem.task, problem.doc] += count
        return list(range(first, first + count))

    async def _produce(
        self, problem: Problem, repeats: Sequence[int], strategy: Strategy
    ) -> list[SampleRecord]:
        samples = tuple(Sample(SampleId(problem.task, problem.doc, n), problem) for n in repeats)
        group = Group(problem, samples, strategy)
        ids = [sample.id for sample in samples]
        check_contexts([group], self._backends)
        self._refuse_twins(ids)
        self._in_progress.update(ids)
        self.control.total += len(ids)
        try:
            # Nobody knows how many samples will come, so the task's entry counts none.
            entry = task_entry([group], {}) | {"problems": 0, "samples": 0}
            del entry["documents"]
            self._journal.ask(planned([group]), {problem.task: entry})
            for id_ in self._cancelled.intersection(ids):
                await self._journal.again(id_)
                self._cancelled.discard(id_)
            self._fold([group])
            with _first_error():
                async with asyncio.TaskGroup() as tasks:
                    await self._begin(group, tasks)
            return self._take_records(ids)
        except asyncio.CancelledError:
            if self._over is None:
                self._withdraw(ids)
            raise
        finally:
            self._in_progress.difference_update(ids)
            for id_ in ids:
                self.finished.pop(id_, None)

    def _refuse_twins(self, ids: Sequence[SampleId]) -> None:
        twins = [id_ for id_ in ids if id_ in self._in_progress] or (
            [] if len(set(ids)) == len(ids) else list(ids)
        )
        if twins:
            raise SettingError(
                f"sample {name_of(twins[0])}: is in progress already; give another repeat, or wait "
                "for it"
            )

    def _withdraw(self, ids: Sequence[SampleId]) -> None:
        """Samples whose caller went away are no longer asked for; what they cost stays."""
        for id_ in ids:
            if id_ not in self.finished:
                self.control.total -= 1
                with contextlib.suppress(JournalError):  # a later write reports it
                    if self._journal.withdraw(id_):
                        self._cancelled.add(id_)

    def _take_records(self, ids: Sequence[SampleId]) -> list[SampleRecord]:
        if self.missing(ids):
            raise self._over or RunInterruptedError("the session was closed")
        return [self.finished.pop(id_) for id_ in ids]

    def _fold(self, groups: Sequence[Group]) -> None:
        """Bring banks and controllers back to where earlier sessions' decisions left them."""
        policies = {}
        for group in groups:
            strategy, task = group.strategy, group.problem.task
            folded = self._folded.setdefault(strategy, set())
            if strategy.policy is not None and task not in folded:
                policies[task] = strategy.policy
            folded.add(task)
        if not policies or not self._before:
            return
        only = next(iter(policies)) if len(policies) == 1 else None
        for record in self._journal.decisions(only):
            policy = policies.get(record.sample.task)
            if policy is not None and record.sequence <= self._before:
                policy.fold(record)

    async def _begin(self, group: Group, tasks: asyncio.TaskGroup) -> None:
        """Begin a group's samples as the live-sample bound allows; recorded ones need none."""
        records = {s.id: self._journal.sample(s.id) for s in group.samples}
        whole = group.strategy.grouped
        finished: list[SampleRecord] = []
        if not whole or all(records.values()):
            finished = [record for record in records.values() if record is not None]
        for record in finished:
            if self._producer.owes(record, group.problem):
                self._spawn(tasks, self._producer.finish(record, group.problem, fresh=False))
            else:
                self._keep(record)
        gate = Gate([s.id.repeat for s in group.samples]) if whole else None
        begun = {record.id for record in finished}
        remaining = [s for s in group.samples if s.id not in begun]
        # A gate whose members do not all run could wait for ever: all or none of them.
        for batch in [remaining] if whole and remaining else [[sample] for sample in remaining]:
            await self._admission.admit(len(batch))
            for sample in batch:
                self._spawn(tasks, self._producer.produce(sample, group, gate, records[sample.id]))

    def _spawn(self, tasks: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> None:
        task = tasks.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, record: SampleRecord, fresh: bool = False) -> None:
        if self._keeps:
            self.finished[record.id] = record
        self.control.done += 1
        if record.failed is not None:
            self.control.failed += 1
            logger.warning("%s failed for good: %s", name_of(record.id), record.failed)
        most = self._options.max_failures
        if most and self.control.failed > most:
            self._over = TooManyFailuresError(
                f"max_failures={most}: {self.control.failed} samples failed for good; the last "
                f"one: {record.failed or 'see the journal'}"
            )
            self._admission.close(self._over)
            raise self._over
        if fresh:
            self._watchers.sample(record)

    def _end(self, reason: str) -> None:
        """End every wait for a place, now and later, because the session is over."""
        self._over = self._over or RunInterruptedError(reason)
        self._admission.close(self._over)


@contextlib.contextmanager
def _first_error() -> Iterator[None]:
    """The first error itself instead of the group around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def name_of(sample: SampleId) -> str:
    """A sample's name for people."""
    return f"{sample.task}/{sample.doc}/{sample.repeat}"
