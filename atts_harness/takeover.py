"""Takeover decisions: what a policy gets, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from atts_harness.records import DecisionRecord, SampleId

__all__ = ["Score", "Settled", "TakeoverPolicy", "Verdict"]


@dataclass(frozen=True)
class Score:
    """Log-probability of every token of a segment under the target, given all before it.

    Attributes:
        logprobs: one per token of the segment in the target's vocabulary, in nats; None if
            scoring failed for good.
        failed: the error then.
        value: a nonconformity that is not a mean of log-probabilities; see `signals`.
    """

    logprobs: tuple[float, ...] | None
    failed: str | None = None
    value: float | None = None

    @property
    def nonconformity(self) -> float | None:
        """Mean negative log-probability, in nats per token: s. The perplexity is exp(s)."""
        if self.value is not None:
            return self.value
        return None if self.logprobs is None else -math.fsum(self.logprobs) / len(self.logprobs)


@dataclass(frozen=True)
class Verdict:
    """A takeover policy's verdict on one turn: take over iff p <= threshold.

    Attributes:
        takeover: the verdict.
        p_value: small means unusually bad; None if the policy computes none.
        threshold: the rate after control; None if the policy has none.
        bank_size: n.
        bank: which bank was asked (`marginal`, `turn 3`, `question 12`, ...).
    """

    takeover: bool
    p_value: float | None = None
    threshold: float | None = None
    bank_size: int = 0
    bank: str = ""


@runtime_checkable
class TakeoverPolicy(Protocol):
    """Decides turns; shared by all samples of a run."""

    needs_scores: bool
    """False for policies that ignore the score; then no score is requested or paid for."""

    presamples: bool
    """True if a problem's first drafts are its bank: ATTS gathers their scores first."""

    def decide(self, nonconformity: float, sample: SampleId, turn: int, uniform: float) -> Verdict:
        """Decide one turn, and update the policy if it learns from turns.

        Args:
            nonconformity: s; NaN for a policy that needs no scores.
            sample: of the turn.
            turn: counted from 0.
            uniform: the sample's seeded draw in [0, 1), for ties and coins.
        """
        ...

    def offer(self, task: str, doc: int, nonconformities: Mapping[int, float]) -> None:
        """Receive the scores of a problem's first drafts, by repeat (presampling)."""
        ...

    def fold(self, record: DecisionRecord) -> None:
        """Replay a recorded decision; after all of them, in order, the state is restored."""
        ...


@dataclass(frozen=True)
class Settled:
    """A policy with a given answer, for strategies that decide by another rule."""

    verdict: Verdict
    needs_scores = False
    presamples = False

    def decide(self, nonconformity: float, sample: SampleId, turn: int, uniform: float) -> Verdict:
        """The verdict."""
        return self.verdict

    def offer(self, task: str, doc: int, nonconformities: Mapping[int, float]) -> None:
        """Nothing to learn."""

    def fold(self, record: DecisionRecord) -> None:
        """Nothing to restore."""
