"""Observers of a run, called with every record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from atts_harness.records import CallRecord, DecisionRecord, SampleId, SampleRecord
from atts_harness.transcript import Transcript


class Observers:
    """The plugin hooks, a progress display, a ledger. Called in the run's loop: be quick."""

    def __init__(
        self,
        call: Sequence[Callable[[CallRecord], None]] = (),
        decision: Sequence[Callable[[DecisionRecord], None]] = (),
        sample: Sequence[Callable[[SampleRecord], None]] = (),
        figures: Sequence[Callable[[float, str, Mapping[str, float]], None]] = (),
        transcript: Sequence[Callable[[SampleId, Transcript], None]] = (),
    ) -> None:
        self.call_observers = call
        self.decision_observers = decision
        self.sample_observers = sample
        self.figures_observers = figures
        self.transcript_observers = transcript

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

    def figures(self, at: float, engine: str, figures: Mapping[str, float]) -> None:
        """An engine reported its own figures."""
        for observer in self.figures_observers:
            observer(at, engine, figures)

    def transcript(self, sample: SampleId, transcript: Transcript) -> None:
        """A sample's text is settled up to here: only more is appended. Also called on replay."""
        for observer in self.transcript_observers:
            observer(sample, transcript)

    def __add__(self, other: Observers) -> Observers:
        """Observers that call the observers of both."""
        return Observers(
            [*self.call_observers, *other.call_observers],
            [*self.decision_observers, *other.decision_observers],
            [*self.sample_observers, *other.sample_observers],
            [*self.figures_observers, *other.figures_observers],
            [*self.transcript_observers, *other.transcript_observers],
        )
