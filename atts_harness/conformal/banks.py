"""Banks in memory: sorted scores that answer `how many are above s` in O(log n).

A bank gives ranks and takes new scores; it knows neither tasks nor turns. There are two kinds:
`PooledBank` counts scores, `QuestionBank` counts questions by the share of their scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sortedcontainers import SortedList

from atts_harness.conformal import pvalues


class Rank(NamedTuple):
    """Rank of a score in a bank; in scores (`PooledBank`) or questions (`QuestionBank`)."""

    above: float
    equal: float
    size: int

    @property
    def below(self) -> float:
        """The number of units that are strictly lower."""
        return self.size - self.above - self.equal


class RankingBank(Protocol):
    """What a takeover policy needs of a bank."""

    def __len__(self) -> int:
        """How many units (scores or questions) it holds."""
        ...

    def add(self, score: float, question: Hashable) -> None:
        """Take a score in. O(log n)."""
        ...

    def rank(self, score: float, question: Hashable, own_score: float | None = None) -> Rank:
        """Rank a score of `question`. O(log n).

        Args:
            score: s; infinite scores are allowed, and equal to each other.
            question: the question that the score belongs to.
            own_score: the score of the same draft if the bank holds it; it is not counted.
        """
        ...

    def p_value(self, rank: Rank, tie: float) -> float:
        """The p-value of a rank that this bank gave."""
        ...


class PooledBank:
    """Every score counts the same."""

    def __init__(self, scores: Iterable[float] = ()) -> None:
        """A bank that begins with some scores."""
        self._scores: SortedList = SortedList(scores)

    def __len__(self) -> int:
        """How many scores."""
        return len(self._scores)

    def add(self, score: float, question: Hashable = None) -> None:
        """Take a score in; the question does not matter."""
        self._scores.add(score)

    def rank(self, score: float, question: Hashable = None, own_score: float | None = None) -> Rank:
        """Rank among all scores."""
        low: int = self._scores.bisect_left(score)
        high: int = self._scores.bisect_right(score)
        size = len(self._scores)
        above, equal = size - high, high - low
        if own_score is not None:
            above, equal, size = above - (own_score > score), equal - (own_score == score), size - 1
        return Rank(above, equal, size)

    def p_value(self, rank: Rank, tie: float) -> float:
        """See `pvalues.pooled`."""
        return pvalues.pooled(int(rank.above), int(rank.equal), rank.size, tie)


class QuestionBank:
    """Every question counts the same, by the share of its scores.

    Scores lie in one sorted list for each number of scores a question has (k = 1, 2, ...), so that
    all scores of a list weigh 1/k: a rank is a bisection in each list. A new score moves its
    question from list k to k + 1: O(k log n), with k at most a question's repeats.
    """

    def __init__(self, scores: Mapping[Any, Sequence[float]] | None = None) -> None:
        """A bank that begins with some scores, by question."""
        self._questions = {
            q: SortedList(scores_of_one)
            for q, scores_of_one in (scores or {}).items()
            if scores_of_one
        }
        grouped: dict[int, list[float]] = {}
        for scores_of_one in self._questions.values():
            grouped.setdefault(len(scores_of_one), []).extend(scores_of_one)
        self._by_size = {size: SortedList(scores_of_one) for size, scores_of_one in grouped.items()}

    def __len__(self) -> int:
        """How many questions."""
        return len(self._questions)

    def add(self, score: float, question: Hashable) -> None:
        """Take in a score of a question."""
        scores = self._questions.setdefault(question, SortedList())
        if scores:
            lighter = self._by_size[len(scores)]
            for earlier in scores:
                lighter.remove(earlier)
        scores.add(score)
        self._by_size.setdefault(len(scores), SortedList()).update(scores)

    def rank(self, score: float, question: Hashable, own_score: float | None = None) -> Rank:
        """Rank among the other questions; scores of the same question are left out."""
        above = equal = 0.0
        for size, scores in self._by_size.items():
            high = scores.bisect_right(score)
            above += (len(scores) - high) / size
            equal += (high - scores.bisect_left(score)) / size
        mine = self._questions.get(question)
        if mine is None:
            return Rank(round(above, 12), round(equal, 12), len(self._questions))
        high = mine.bisect_right(score)
        above -= (len(mine) - high) / len(mine)
        equal -= (high - mine.bisect_left(score)) / len(mine)
        # Thirds do not add up in floating point; rounding makes the same scores give the same rank.
        return Rank(round(above, 12), round(equal, 12), len(self._questions) - 1)

    def p_value(self, rank: Rank, tie: float) -> float:
        """See `pvalues.hierarchical`."""
        return pvalues.hierarchical(rank.above, rank.equal, rank.size, tie)
