"""The journal contract, and a journal in memory.

A journal holds every call's reply and every decision of a run under keys that do not depend on call
order. A recorded call is answered from it; the first unrecorded one goes to the engine.

Records become durable in the order in which they were made, never with a gap: whatever a record
depends on was recorded before it. So a run that dies loses the last few at most, and what is left
is a state in which the run really was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from atts_harness.errors import JournalMismatchError
from atts_harness.journal.hashing import difference
from atts_harness.journal.plan import Planned
from atts_harness.records import (
    CallKey,
    CallRecord,
    CountedCall,
    DecisionRecord,
    SampleId,
    SampleRecord,
)


class Journal(Protocol):
    """Durable record of a run."""

    @property
    def elapsed(self) -> float:
        """What the run's clock showed at the last record of earlier sessions, in seconds."""
        ...

    @property
    def sequence(self) -> int:
        """The number of the last decision of earlier sessions; 0 if there is none."""
        ...

    def recorded(self) -> Iterable[CountedCall | SampleRecord]:
        """Every call and every finished sample of earlier sessions."""
        ...

    def ask(self, plan: Mapping[SampleId, Planned], tasks: Mapping[str, dict[str, Any]]) -> None:
        """Add samples to the plan of a run in progress; some may be in it already.

        Args:
            plan: the samples, and what each is asked for.
            tasks: by task its entry in the record; see `RunRecord.tasks`.

        Raises:
            JournalMismatchError: a sample is recorded with another plan; names what differs.
        """
        ...

    def withdraw(self, sample: SampleId) -> bool:
        """Take a sample out of the plan, so that it is not missing; what it cost stays recorded.

        Returns:
            Whether `again` must be called before the sample is run once more.
        """
        ...

    async def again(self, sample: SampleId) -> None:
        """Prepare to run a cancelled sample of this session again: its calls are replayed."""
        ...

    def call(self, key: CallKey) -> CallRecord | None:
        """The recorded call, if there is one."""
        ...

    async def record_call(self, record: CallRecord) -> None:
        """Record a call; committed soon, and before anything recorded after it."""
        ...

    def decision(self, sample: SampleId, turn: int) -> DecisionRecord | None:
        """The recorded decision, if there is one."""
        ...

    def record_decision(self, record: DecisionRecord) -> None:
        """Record a decision; committed no later than any call recorded after it."""
        ...

    def decisions(self, task: str | None = None) -> Iterable[DecisionRecord]:
        """Recorded decisions, in the order in which they were made; of one task, or of all."""
        ...

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """The finished sample, if it is recorded."""
        ...

    async def record_sample(self, record: SampleRecord) -> None:
        """Record a finished sample; committed when this returns."""
        ...

    def record_metrics(self, at: float, engine: str, values: dict[str, float]) -> None:
        """Record an engine's own figures."""
        ...

    def close(self) -> None:
        """Commit what is pending and close."""
        ...


class MemoryJournal:
    """Keeps everything in memory; for runs without a run directory.

    Args:
        keep: whether calls, decisions and records of finished samples are kept. Without them,
            memory does not grow with the length of the run.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.elapsed = 0.0
        self.metrics: list[tuple[float, str, dict[str, float]]] = []
        self._keep = keep
        self._calls: dict[SampleId, dict[CallKey, CallRecord]] = {}
        self._decisions: dict[SampleId, dict[int, DecisionRecord]] = {}
        self._samples: dict[SampleId, SampleRecord] = {}

    @property
    def sequence(self) -> int:
        """The number of the last decision that is kept; 0 if there is none."""
        turns = (record for decisions in self._decisions.values() for record in decisions.values())
        return max((record.sequence for record in turns), default=0)

    def recorded(self) -> Iterable[CountedCall | SampleRecord]:
        """Every call and every finished sample that is kept."""
        return [*self.calls(), *self._samples.values()]

    def ask(self, plan: Mapping[SampleId, Planned], tasks: Mapping[str, dict[str, Any]]) -> None:
        """Nothing to note: a run in memory is not continued."""

    def withdraw(self, sample: SampleId) -> bool:
        """Forget what a cancelled sample recorded, unless everything is kept."""
        if not self._keep:
            self._forget(sample)
        return False

    async def again(self, sample: SampleId) -> None:
        """Do nothing: what is kept can be replayed as it is."""

    def call(self, key: CallKey) -> CallRecord | None:
        """The recorded call, if there is one."""
        return self._calls.get(key.sample, {}).get(key)

    async def record_call(self, record: CallRecord) -> None:
        """Record a call."""
        self._calls.setdefault(record.key.sample, {})[record.key] = record

    def calls(self) -> list[CallRecord]:
        """All recorded calls that are kept, by sample."""
        return [record for calls in self._calls.values() for record in calls.values()]

    def decision(self, sample: SampleId, turn: int) -> DecisionRecord | None:
        """The recorded decision, if there is one."""
        return self._decisions.get(sample, {}).get(turn)

    def record_decision(self, record: DecisionRecord) -> None:
        """Record a decision."""
        self._decisions.setdefault(record.sample, {})[record.turn] = record

    def decisions(self, task: str | None = None) -> Iterable[DecisionRecord]:
        """Recorded decisions that are kept, in the order in which they were made."""
        records = [
            record
            for sample, turns in self._decisions.items()
            if task in (None, sample.task)
            for record in turns.values()
        ]
        return sorted(records, key=lambda record: record.sequence)

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """The finished sample, if it is recorded and kept."""
        return self._samples.get(sample)

    async def record_sample(self, record: SampleRecord) -> None:
        """Record a finished sample."""
        if self._keep:
            self._samples[record.id] = record
        else:
            self._forget(record.id)

    def record_metrics(self, at: float, engine: str, values: dict[str, float]) -> None:
        """Record an engine's own figures."""
        if self._keep:
            self.metrics.append((at, engine, values))

    def close(self) -> None:
        """Do nothing: there is no file to close."""

    def _forget(self, sample: SampleId) -> None:
        self._calls.pop(sample, None)
        self._decisions.pop(sample, None)


def replayed(record: CallRecord, request_hash: str) -> CallRecord:
    """`record`, if its request is the same as the one that is made now.

    Raises:
        JournalMismatchError: the request differs from the recorded one; names what differs.
    """
    if record.request_hash != request_hash:
        key = record.key
        differing = difference(record.request_hash, request_hash)
        raise JournalMismatchError(
            f"run_dir: the {key.kind} call of turn {key.turn} (sample {key.sample.task}/"
            f"{key.sample.doc}/{key.sample.repeat}) differs from the recorded one in: {differing}; "
            "use the settings, models and prompts of the recorded run, another run_dir, or "
            "resume=false to start afresh"
        )
    return record
