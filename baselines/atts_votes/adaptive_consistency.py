"""Adaptive-consistency (arXiv 2305.11860): draw one by one until the leading answer is sure enough.

With a and b the votes of the two most frequent answers, p ~ Beta(a + 1, b + 1) is the share of the
first among the two; the vote is over once P(p > 1/2) is at least `sure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import comb
from typing import Annotated, ClassVar

import msgspec

from atts_harness.strategy import Problem, StrategyOptions
from atts_votes.counting import counted
from atts_votes.vote import Ballots, Vote, VoteOptions


class AdaptiveConsistencyOptions(VoteOptions, frozen=True, kw_only=True):
    """When the leading answer is sure enough."""

    sure: Annotated[
        float,
        msgspec.Meta(
            ge=0.5,
            lt=1,
            description="no further sample is drawn once the leading answer is the more frequent "
            "one of the first two with this probability",
        ),
    ] = 0.95


class AdaptiveConsistency(Vote):
    """Samples are drawn one by one until a Beta posterior is sure of the leading answer."""

    name: ClassVar[str] = "adaptive-consistency"
    Options: ClassVar[type[StrategyOptions]] = AdaptiveConsistencyOptions

    def batches(self, repeats: Sequence[int]) -> Iterable[Sequence[int]]:
        """One sample after the other."""
        return [[repeat] for repeat in repeats]

    def enough(self, problem: Problem, cast: Ballots, latest: Ballots) -> bool:
        """Whether the leading answer is sure enough; False while there is no answer."""
        votes = counted([ballot.answer for ballot in cast.values()], problem.kind)
        return bool(votes) and leads(*[*votes, 0][:2]) >= Fraction(self.options.sure)


def leads(a: int, b: int) -> Fraction:
    """P(p > 1/2) for p ~ Beta(a + 1, b + 1), exact: a binomial tail, since a and b are counts."""
    n = a + b + 1
    return Fraction(sum(comb(n, k) for k in range(a + 1)), 2**n)
