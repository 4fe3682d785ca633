"""Who is told of what happens in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atts_harness.records import CallRecord, DecisionRecord, SampleRecord


class Observers:
    """The plugin hooks, a progress display, a ledger. Called in the run's loop: be quick."""

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

    def __add__(self, other: Observers) -> Observers:
        """Both."""
        return Observers(
            [*self.call_observers, *other.call_observers],
            [*self.decision_observers, *other.decision_observers],
            [*self.sample_observers, *other.sample_observers],
        )
