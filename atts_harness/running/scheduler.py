"""The schedule: one coroutine a sample, no barrier between samples, turns or problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from atts_harness.backend import Backend, Role
from atts_harness.errors import BackendError, ContextLengthError, SampleFailedError
from atts_harness.records import CallRecord, DecisionRecord, SampleRecord
from atts_harness.running.client import Calls, Clock, Limits
from atts_harness.running.context import Gate, RunState, SampleContext
from atts_harness.running.journal import Journal
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, Outcome, Sample


class Observers:
    """Who is told of what happens; the plugin hooks, a progress display, a ledger."""

    def __init__(
        self,
        call: Sequence[Callable[[CallRecord], None]] = (),
        decision: Sequence[Callable[[DecisionRecord], None]] = (),
        sample: Sequence[Callable[[SampleRecord], None]] = (),
    ) -> None:
        self.call_observers = call
        self.decision_observers = decision
        self.sample_observers = sample

    def call(self, record: CallRecord) -> None:
        """A call is recorded."""
        for observer in self.call_observers:
            observer(record)

    def decision(self, record: DecisionRecord) -> None:
        """A decision is recorded."""
        for observer in self.decision_observers:
            observer(record)

    def sample(self, record: SampleRecord) -> None:
        """A sample is finished."""
        for observer in self.sample_observers:
            observer(record)


async def run_groups(
    groups: Sequence[Group],
    backends: Mapping[Role, Backend],
    options: RunOptions,
    journal: Journal,
    observers: Observers | None = None,
) -> list[SampleRecord]:
    """Produce every sample of every group.

    Args:
        groups: problems with their samples and strategy.
        backends: by role; roles may share one.
        options: limits, retries, seed.
        journal: where calls and decisions are recorded, and replayed from.
        observers: who is told.

    Returns:
        One record a sample, in the order of `groups` and of their samples. A sample that failed
        for good has `failed` set.
    """
    watchers = observers or Observers()
    limits = Limits(
        options.draft_concurrency, options.score_concurrency, options.takeover_concurrency
    )
    calls = Calls(limits, journal, options.retries, options.timeout, Clock(), watchers.call)
    run = RunState(options.seed, calls, backends, watchers.decision)
    _fold(groups, journal, run)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_run_sample(sample, group, gate, run, watchers))
            for group in groups
            for gate in [Gate([s.id.repeat for s in group.samples])]
            for sample in group.samples
        ]
    return [task.result() for task in running]


def _fold(groups: Sequence[Group], journal: Journal, run: RunState) -> None:
    """Bring banks and controllers back to where the recorded decisions left them."""
    policies = {group.problem.task: group.strategy.policy for group in groups}
    for record in journal.decisions():
        run.sequence[0] = max(run.sequence[0], record.sequence)
        policy = policies.get(record.sample.task)
        if policy is not None:
            policy.fold(record)


async def _run_sample(
    sample: Sample, group: Group, gate: Gate, run: RunState, watchers: Observers
) -> SampleRecord:
    journal = run.calls.journal
    strategy = group.strategy
    known = journal.sample(sample.id)
    if known is not None and not strategy.grouped:
        return known
    ctx = SampleContext(sample, run, strategy.name, gate if strategy.grouped else None)
    try:
        outcome = await strategy.run(sample, ctx)
        record = ctx.close(outcome)
    except ContextLengthError:
        record = ctx.close(Outcome(ctx.latest, "context"))
    except (BackendError, SampleFailedError) as error:
        record = ctx.fail(error)
    finally:
        await gate.leave(sample.id.repeat)
    await journal.record_sample(record)
    watchers.sample(record)
    return record
