"""The journal contract, and the one that lives in memory.

A journal holds every call's reply and every decision of a run under a key that is never call
order. A recorded call is answered from it; the first unrecorded one goes to the engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from atts_harness.errors import JournalMismatchError
from atts_harness.records import CallKey, CallRecord, DecisionRecord, SampleId, SampleRecord


class Journal(Protocol):
    """Durable record of a run. "Recorded" means committed when the coroutine returns."""

    def call(self, key: CallKey) -> CallRecord | None:
        """The recorded call, if there is one."""
        ...

    async def record_call(self, record: CallRecord) -> None:
        """Record a call."""
        ...

    def decision(self, sample: SampleId, turn: int) -> DecisionRecord | None:
        """The recorded decision, if there is one."""
        ...

    def record_decision(self, record: DecisionRecord) -> None:
        """Record a decision; committed no later than any call recorded after it."""
        ...

    def decisions(self) -> Iterable[DecisionRecord]:
        """All recorded decisions, in the order in which they were made."""
        ...

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """The finished sample, if it is recorded."""
        ...

    async def record_sample(self, record: SampleRecord) -> None:
        """Record a finished sample."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class MemoryJournal:
    """Keeps everything in memory; for runs without a run directory."""

    def __init__(self) -> None:
        self._calls: dict[CallKey, CallRecord] = {}
        self._decisions: dict[tuple[SampleId, int], DecisionRecord] = {}
        self._samples: dict[SampleId, SampleRecord] = {}

    def call(self, key: CallKey) -> CallRecord | None:
        """The recorded call, if there is one."""
        return self._calls.get(key)

    async def record_call(self, record: CallRecord) -> None:
        """Record a call."""
        self._calls[record.key] = record

    def decision(self, sample: SampleId, turn: int) -> DecisionRecord | None:
        """The recorded decision, if there is one."""
        return self._decisions.get((sample, turn))

    def record_decision(self, record: DecisionRecord) -> None:
        """Record a decision."""
        self._decisions[record.sample, record.turn] = record

    def decisions(self) -> Iterable[DecisionRecord]:
        """All recorded decisions, in the order in which they were made."""
        return sorted(self._decisions.values(), key=lambda record: record.sequence)

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """The finished sample, if it is recorded."""
        return self._samples.get(sample)

    async def record_sample(self, record: SampleRecord) -> None:
        """Record a finished sample; its calls are no longer needed."""
        self._samples[record.id] = record

    def close(self) -> None:
        """Nothing to let go of."""


def replayed(record: CallRecord, request_hash: str) -> CallRecord:
    """`record`, if it is of the very request that is asked now.

    Raises:
        JournalMismatchError: the request differs from the recorded one.
    """
    if record.request_hash != request_hash:
        key = record.key
        raise JournalMismatchError(
            f"run_dir: {key.kind} call of turn {key.turn} (sample {key.sample.task}/"
            f"{key.sample.doc}/{key.sample.repeat}) differs from the recorded one; the run "
            "directory belongs to other models, prompts or settings: use another run_dir, or "
            "resume=false to start afresh"
        )
    return record
