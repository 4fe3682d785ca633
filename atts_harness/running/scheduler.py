"""The schedule: one coroutine a sample, no barrier between samples, turns or problems."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

from atts_harness import neutral
from atts_harness.backend import Backend, Role
from atts_harness.errors import (
    BackendError,
    ContextLengthError,
    MalformedReplyError,
    RunIncompleteError,
    RunInterruptedError,
    SampleFailedError,
    TooManyFailuresError,
)
from atts_harness.grading.extraction import LLM
from atts_harness.journal.contract import Journal
from atts_harness.lanes import lanes_of
from atts_harness.records import EXTRACTOR, SampleId, SampleRecord
from atts_harness.running.client import Calls
from atts_harness.running.clock import Clock
from atts_harness.running.context import RunState, SampleContext
from atts_harness.running.control import Control
from atts_harness.running.engine import Engine
from atts_harness.running.extraction import Extraction
from atts_harness.running.gate import Gate
from atts_harness.running.observers import Observers
from atts_harness.running.slots import Slots
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, Outcome, Problem, Sample

logger = neutral.logger("atts_harness.running")

GRACE_SECONDS = 7.0  # for calls in flight when a run is stopped; closing takes some, too
LAST_COMMIT_SECONDS = 0.1

__all__ = ["Control", "Observers", "run_groups"]


async def run_groups(
    groups: Sequence[Group],
    backends: Mapping[Role, Backend],
    options: RunOptions,
    journal: Journal,
    observers: Observers | None = None,
    control: Control | None = None,
    extractor: Backend | None = None,
) -> list[SampleRecord]:
    """Produce every sample of every group.

    Args:
        groups: problems with their samples and strategy.
        backends: by role; roles may share one, and then share its slots.
        options: limits, retries, seed.
        journal: where calls and decisions are recorded, and replayed from.
        observers: who is told.
        control: how the run is watched and stopped from outside.
        extractor: the model that extracts the answers of samples as they end; None: none does.

    Returns:
        One record a sample, in the order of `groups` and of their samples. A sample that failed
        for good has `failed` set.

    Raises:
        RunIncompleteError: stopped, given up for too many failures, or an engine is gone for
            good; names the missing samples.
        JournalError: the journal cannot be written, or holds something else.
    """
    control = control or Control()
    clock = control.clock = Clock(journal.elapsed)
    by_role = _engines(backends, options, clock)
    engines = list({id(engine): engine for engine in by_role.values()}.values())
    control.total = sum(len(group.samples) for group in groups)
    watchers = observers or Observers()
    calls = Calls(journal, clock, options.retries, watchers.call)
    extraction: Extraction | None = None
    if extractor is not None:
        slots = Slots({**lanes_of(options), "takeover": options.extractor_concurrency})
        extraction = Extraction(_engine(EXTRACTOR, extractor, slots, options, clock), calls)
        engines.append(extraction.engine)
    control.engines = engines
    state = RunState(options.seed, calls, by_role, watchers.decision)
    _fold(groups, journal, state)
    schedule = _Schedule(state, watchers, options, control, extraction)
    for engine in control.engines:
        engine.watch()
    polling = asyncio.create_task(
        _poll_metrics(control, journal, watchers, options.metrics_interval)
    )
    try:
        await _until_stopped(schedule.run(groups), control)
    except RunIncompleteError as error:
        wanted = [sample.id for group in groups for sample in group.samples]
        missing = [_name(id_) for id_ in wanted if id_ not in schedule.results]
        error.missing = tuple(missing)
        raise
    finally:
        polling.cancel()
        await asyncio.gather(polling, *(engine.aclose() for engine in control.engines))
    return [schedule.results[sample.id] for group in groups for sample in group.samples]


def _engines(
    backends: Mapping[Role, Backend], options: RunOptions, clock: Clock
) -> dict[Role, Engine]:
    """Roles that share a backend share its slots."""
    made: dict[int, Engine] = {}
    for role, backend in backends.items():
        if id(backend) in made:
            made[id(backend)].name += f" and {role}"
            continue
        slots = Slots(
            lanes_of(options),
            total=options.engine_concurrency,
            target=options.target_concurrency,
        )
        made[id(backend)] = _engine(role, backend, slots, options, clock)
    return {role: made[id(backend)] for role, backend in backends.items()}


def _engine(name: str, backend: Backend, slots: Slots, options: RunOptions, clock: Clock) -> Engine:
    return Engine(
        name=name,
        backend=backend,
        slots=slots,
        clock=clock,
        timeout=options.timeout,
        patience=options.engine_timeout,
        stall=options.stall_timeout or options.timeout,
    )


def _fold(groups: Sequence[Group], journal: Journal, state: RunState) -> None:
    """Bring banks and controllers back to where the recorded decisions left them."""
    policies = {group.problem.task: group.strategy.policy for group in groups}
    for record in journal.decisions():
        state.sequence[0] = max(state.sequence[0], record.sequence)
        policy = policies.get(record.sample.task)
        if policy is not None:
            policy.fold(record)


@dataclass
class _Schedule:
    """What is live and what is done."""

    state: RunState
    watchers: Observers
    options: RunOptions
    control: Control
    extraction: Extraction | None = None
    results: dict[SampleId, SampleRecord] = field(default_factory=dict)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, groups: Sequence[Group]) -> None:
        """Begin samples in order as the live-sample bound permits, and see them through."""
        journal = self.state.calls.journal
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                known = {s.id: journal.sample(s.id) for s in group.samples}
                whole = group.strategy.grouped
                finished: list[SampleRecord] = []
                if not whole or all(known.values()):
                    finished = [record for record in known.values() if record is not None]
                for record in finished:
                    if self._owes(record, group.problem):
                        tasks.create_task(self._finish(record, group.problem, new=False))
                    else:
                        self._keep([record])
                gate = Gate([s.id.repeat for s in group.samples]) if whole else None
                begun = {record.id for record in finished}
                left = [s for s in group.samples if s.id not in begun]
                # A gate whose members do not all run could wait for ever: all or none of them.
                for batch in [left] if whole else [[sample] for sample in left]:
                    await self._admit(len(batch))
                    for sample in batch:
                        one = self._run_sample(sample, group, gate, known[sample.id])
                        tasks.create_task(one)

    async def _admit(self, count: int) -> None:
        bound = self.options.live_samples
        while bound and self.control.live and self.control.live + count > bound:
            self._room.clear()
            await self._room.wait()
        self.control.live += count

    async def _run_sample(
        self, sample: Sample, group: Group, gate: Gate | None, known: SampleRecord | None
    ) -> None:
        try:
            record = await self._outcome(sample, group, gate)
            if known is None and not self._owes(record, group.problem):
                # Before its place is given away: too many failures are seen before more begin.
                await self.state.calls.journal.record_sample(record)
        finally:
            self.control.live -= 1
            self._room.set()
            if gate is not None:
                gate.leave(sample.id.repeat)
        # One that is known was replayed for its siblings' sake.
        await self._finish(known or record, group.problem, new=known is None)

    def _owes(self, record: SampleRecord, problem: Problem) -> bool:
        """Whether a model is still to extract the sample's answer."""
        asked = self.extraction is not None and problem.kind is not None
        return asked and record.failed is None and LLM not in record.answers

    async def _finish(self, record: SampleRecord, problem: Problem, *, new: bool) -> None:
        """Have the answer extracted; the sample's place and its siblings do not wait for that."""
        if self.extraction and problem.kind and self._owes(record, problem):
            await self.extraction.extract(record, problem.kind)
            await self.state.calls.journal.record_sample(record)
        self._keep([record])
        if new:
            self.watchers.sample(record)

    async def _outcome(self, sample: Sample, group: Group, gate: Gate | None) -> SampleRecord:
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        seconds = self.options.sample_timeout

        def begun() -> None:
            if seconds and limit.when() is None:
                limit.reschedule(loop.time() + seconds)

        ctx = SampleContext(sample, self.state, group.strategy.name, gate, begun)
        try:
            async with limit:
                return ctx.close(await group.strategy.run(sample, ctx))
        except ContextLengthError:
            return ctx.close(Outcome(ctx.latest, "context"))
        except TimeoutError:
            if not limit.expired():
                raise
            return ctx.fail(SampleFailedError(f"sample_timeout: not finished in {seconds:g} s"))
        except (BackendError, SampleFailedError) as error:
            return ctx.fail(error)

    def _keep(self, records: Sequence[SampleRecord]) -> None:
        for record in records:
            self.results[record.id] = record
            self.control.done += 1
            if record.failed is not None:
                self.control.failed += 1
                logger.warning("%s failed for good: %s", _name(record.id), record.failed)
        most = self.options.max_failures
        if most and self.control.failed > most:
            raise TooManyFailuresError(
                f"max_failures={most}: {self.control.failed} samples failed for good; the last "
                f"one: {records[-1].failed or 'see the journal'}"
            )


async def _until_stopped(work: Awaitable[None], control: Control) -> None:
    """Run `work`; when asked to stop, let calls in flight finish for a while, then cancel it.

    Raises:
        RunInterruptedError: it was stopped.
    """
    working = asyncio.ensure_future(work)
    wish = asyncio.create_task(control.asked_to_stop())
    try:
        await asyncio.wait({working, wish}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await _wind_down(working, control)
            if working.cancelled():
                raise RunInterruptedError(wish.result())
        _reraise(working)
    finally:
        wish.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def _wind_down(working: asyncio.Future[None], control: Control) -> None:
    for engine in control.engines:
        engine.slots.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            await asyncio.gather(*(engine.slots.idle() for engine in control.engines))
    await asyncio.wait({working}, timeout=LAST_COMMIT_SECONDS)  # samples that are just finishing
    working.cancel()
    await asyncio.wait({working})


def _reraise(working: asyncio.Future[None]) -> None:
    """The first error itself instead of the group around it."""
    error = working.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error


async def _poll_metrics(
    control: Control, journal: Journal, watchers: Observers, interval: float
) -> None:
    """Record the engines' own figures, where their backends tell them."""
    if not interval or control.clock is None:
        return
    warned: set[str] = set()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for engine in control.engines:
                try:
                    figures = await engine.backend.metrics()
                except MalformedReplyError as error:
                    if engine.name not in warned:
                        logger.warning("%s: its figures are left out: %s", engine.name, error)
                    warned.add(engine.name)
                except BackendError as error:
                    logger.debug("%s: no figures: %s", engine.name, error)
                else:
                    if figures:
                        now = control.clock.now()
                        journal.record_metrics(now, engine.name, dict(figures))
                        watchers.figures(now, engine.name, figures)
            await asyncio.sleep(interval)


def _name(sample: SampleId) -> str:
    return f"{sample.task}/{sample.doc}/{sample.repeat}"
