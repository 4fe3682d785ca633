"""The takeover policy: rank a score, compare with the threshold, learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from atts_harness.conformal import pvalues
from atts_harness.conformal.banks import RankingBank
from atts_harness.conformal.control import Controller
from atts_harness.conformal.sources import BankSource
from atts_harness.errors import MalformedReplyError, SettingError
from atts_harness.records import DecisionRecord, SampleId
from atts_harness.strategy import Verdict


class Rule(Protocol):
    """Turns a score and a bank into a p-value: small means unusually bad."""

    def __call__(
        self,
        bank: RankingBank,
        score: float,
        sample: SampleId,
        own_score: float | None,
        uniform: float,
    ) -> tuple[float, int]:
        """The p-value, and the size of the bank it comes from."""
        ...


def random_ties(
    bank: RankingBank, score: float, sample: SampleId, own_score: float | None, uniform: float
) -> tuple[float, int]:
    """Ties are broken by the sample's seeded draw."""
    rank = bank.rank(score, sample.doc, own_score)
    return bank.p_value(rank, pvalues.random_tie(uniform)), rank.size


def conservative_ties(
    bank: RankingBank, score: float, sample: SampleId, own_score: float | None, uniform: float
) -> tuple[float, int]:
    """Scores that equal it all count as at least as bad."""
    rank = bank.rank(score, sample.doc, own_score)
    return bank.p_value(rank, pvalues.CONSERVATIVE), rank.size


def reference(
    bank: RankingBank, score: float, sample: SampleId, own_score: float | None, uniform: float
) -> tuple[float, int]:
    """The published rule: 1 - percentile, without the test score and without ties.

    `percentile >= 1 - rate` and `1 - percentile <= rate` are the same comparison, also of floats:
    1 - x is exact for x in [1/2, 1], and monotone everywhere.
    """
    rank = bank.rank(score, sample.doc, own_score)
    if rank.size == 0:
        raise SettingError(
            "rule=reference: the bank is empty and has no percentile; use rule=pvalue"
        )
    return 1.0 - pvalues.percentile(int(rank.below), rank.size), rank.size


class ConformalPolicy:
    """Decides takeovers by conformal p-values; see `atts_harness.strategy.TakeoverPolicy`.

    Its state follows from the recorded decisions alone: the banks from their scores, the
    controllers from their takeovers.
    """

    needs_scores = True

    def __init__(
        self, source: BankSource, rule: Rule, new_controller: Callable[[], Controller]
    ) -> None:
        """Use `make_policy`, which chooses the parts."""
        self.presamples = source.presamples
        self._source = source
        self._rule = rule
        self._new_controller = new_controller
        self._controllers: dict[tuple[str, str], Controller] = {}

    def decide(self, nonconformity: float, sample: SampleId, turn: int, uniform: float) -> Verdict:
        """Judge one turn, then learn its score and its verdict. O(log n).

        Raises:
            MalformedReplyError: for NaN, which is not a score.
        """
        if math.isnan(nonconformity):
            raise MalformedReplyError(f"score of {sample} turn {turn}: not a number")
        place = self._source.place(sample, turn)
        p_value, size = self._rule(place.bank, nonconformity, sample, place.own_score, uniform)
        controller = self._controller(sample.task, place.name)
        threshold = controller.threshold
        takeover = p_value <= threshold
        controller.update(takeover)
        self._source.learn(sample, turn, nonconformity)
        return Verdict(takeover, p_value, threshold, size, place.name)

    def offer(self, task: str, doc: int, nonconformities: Mapping[int, float]) -> None:
        """Receive the scores of a problem's first drafts, by repeat (presampling)."""
        for repeat, score in nonconformities.items():
            if math.isnan(score):
                raise MalformedReplyError(f"score of {task}/{doc}/{repeat} turn 0: not a number")
        self._source.offer(task, doc, nonconformities)

    def fold(self, record: DecisionRecord) -> None:
        """Update bank and threshold by a recorded decision that has a p-value."""
        if record.p_value is None or record.nonconformity is None:
            return
        self._controller(record.sample.task, record.bank).update(record.takeover)
        self._source.learn(record.sample, record.turn, record.nonconformity)

    def _controller(self, task: str, bank: str) -> Controller:
        key = (task, bank)
        controller = self._controllers.get(key)
        if controller is None:
            controller = self._controllers[key] = self._new_controller()
        return controller
