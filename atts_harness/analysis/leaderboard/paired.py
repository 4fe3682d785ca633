"""Compares two methods on the same questions: the difference, its interval, and a margin."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from atts_harness.analysis.leaderboard.rows import INDISTINCT, Interval, McNemar, NoWorse
from atts_harness.analysis.statistics import (
    Estimate,
    Family,
    difference_p,
    equivalence,
    paired_difference,
    problem_differences,
)

Marks = Mapping[tuple[Hashable, int], float]
"""Right (1) or wrong (0) by (question, repeat)."""

Votes = Mapping[Hashable, Sequence[float]]
"""By question, the chance that its vote is right, or whether each of its samples is."""


@dataclass(frozen=True)
class Paired:
    """Two methods compared on the samples that both have.

    Attributes:
        difference: mean of the first minus mean of the second, with a pointwise interval.
        problems: shared questions.
        samples: shared (question, repeat).
        p: the level at which the interval would just leave 0 out; None with one question.
        mcnemar: on shared samples; None where one of the two votes.
        first: values of the first, in order of questions.
        second: likewise.
        questions: the question of each value of the first.
        others: of the second; None: the same.
    """

    difference: Interval
    problems: int
    samples: int
    p: float | None
    mcnemar: McNemar | None
    first: tuple[float, ...]
    second: tuple[float, ...]
    questions: tuple[Hashable, ...]
    others: tuple[Hashable, ...] | None = None

    @property
    def sides(self) -> tuple[Sequence[float], Sequence[Hashable], Sequence[float], Sequence[Any]]:
        """Values and their questions, of either method."""
        return self.first, self.questions, self.second, self.others or self.questions

    def interval(self, level: float) -> Interval:
        """The difference with an interval of another level."""
        return interval_of(paired_difference(*self.sides, level=level))

    def no_worse(self, margin: float, level: float) -> NoWorse | None:
        """Whether the first is no worse by more than a margin; None with one question.

        Args:
            margin: in (0, 1).
            level: confidence of the bound.
        """
        if self.problems < 2:
            return None
        differences, grain = problem_differences(*self.sides)
        result = equivalence(differences, grain, margin=margin, confidence=level)
        return NoWorse(
            outcome=result.outcome,
            margin=margin,
            low=result.low,
            high=result.high,
            confidence=level,
            power=result.power,
            more=result.more,
            words=margin_words(result.outcome, margin, result.more),
        )


def compare(first: Marks, second: Marks, *, level: float = 0.95) -> Paired | None:
    """Compare two methods on the questions and repeats that both have.

    Args:
        first: the method.
        second: what it is compared with.
        level: of the interval.

    Returns:
        None if they share no sample.
    """
    shared = sorted(first.keys() & second.keys(), key=repr)
    if not shared:
        return None
    questions = tuple(question for question, _ in shared)
    ones = tuple(first[key] for key in shared)
    twos = tuple(second[key] for key in shared)
    difference = paired_difference(ones, questions, twos, questions, level=level)
    p = None
    if difference.clusters > 1:
        p = difference_p(*problem_differences(ones, questions, twos, questions))
    return Paired(
        difference=interval_of(difference),
        problems=difference.clusters,
        samples=len(shared),
        p=p,
        mcnemar=mcnemar(ones, twos),
        first=ones,
        second=twos,
        questions=questions,
    )


def compare_questions(first: Votes, second: Votes, *, level: float = 0.95) -> Paired | None:
    """Compare two methods of which one at least answers by a vote, on the questions of both.

    Args:
        first: the method.
        second: what it is compared with; a vote's one value a question, or each sample's.
        level: of the interval.

    Returns:
        None if they share no question. Its `samples` are the shared questions.
    """
    shared = sorted(first.keys() & second.keys(), key=repr)
    if not shared:
        return None
    sides = [
        (tuple(v for q in shared for v in of[q]), tuple(q for q in shared for _ in of[q]))
        for of in (first, second)
    ]
    (ones, questions), (twos, others) = sides
    difference = paired_difference(ones, questions, twos, others, level=level)
    p = None
    if difference.clusters > 1:
        p = difference_p(*problem_differences(ones, questions, twos, others))
    return Paired(
        difference=interval_of(difference),
        problems=len(shared),
        samples=len(shared),
        p=p,
        mcnemar=None,
        first=ones,
        second=twos,
        questions=questions,
        others=others,
    )


def mcnemar(first: Sequence[float], second: Sequence[float]) -> McNemar:
    """McNemar's exact test: are the samples that only one method has right split evenly?

    Args:
        first: verdicts of one method.
        second: verdicts of the other on the same samples.
    """
    first_only = sum(a > b for a, b in zip(first, second, strict=True))
    second_only = sum(b > a for a, b in zip(first, second, strict=True))
    p = (
        1.0
        if first_only + second_only == 0
        else float(stats.binomtest(first_only, first_only + second_only).pvalue)
    )
    return McNemar(first=first_only, second=second_only, p=p)


def verdict(simultaneous: Interval, problems: int, reference: str, family: Family) -> str:
    """The comparison in words, from the interval that is printed beside them."""
    if simultaneous.low is None or simultaneous.high is None:
        return "one problem: no interval, no test"
    if simultaneous.low > 0:
        return f"better than {reference}"
    if simultaneous.high < 0:
        return f"worse than {reference}"
    if not family.reaches(problems):
        return f"out of reach: {problems} problems, {family.needed} could"
    return INDISTINCT


def margin_words(outcome: str, margin: float, more: int) -> str:
    """An outcome against a margin in words."""
    if outcome == "inconclusive":
        return f"inconclusive: about {more:,} more problems would tell"
    return f"{outcome} by more than {margin:g}"


def interval_of(estimate: Estimate) -> Interval:
    """An estimate as an `Interval` of the schema."""
    return Interval(**asdict(estimate))
