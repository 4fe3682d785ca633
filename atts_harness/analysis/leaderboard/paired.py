"""Two methods on the same questions: differences, tests, and their number taken into account.

The test that decides is the permutation test over questions: under "no difference" a question's
difference is as likely to be -d as d, so its sign is flipped. It needs no normality and no
independence of repeats. With few questions it is enumerated, else sampled with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from atts_harness.analysis.leaderboard.rows import INDISTINCT, Interval, McNemar
from atts_harness.analysis.statistics import Estimate, paired_difference

RESAMPLES = 9999
"""Sign patterns drawn; up to so many are enumerated instead (13 questions)."""
BATCH = 1000

Marks = Mapping[tuple[Hashable, int], bool]
"""Right or wrong by (question, repeat)."""


@dataclass(frozen=True)
class Paired:
    """Two methods on what they have in common.

    Attributes:
        difference: mean of the first minus mean of the second, with a pointwise interval.
        problems: shared questions.
        samples: shared (question, repeat).
        p: of the permutation test; None with fewer than two questions.
        mcnemar: on shared samples.
        first: values of the first by shared sample, in order.
        second: likewise.
        questions: the question of each.
    """

    difference: Interval
    problems: int
    samples: int
    p: float | None
    mcnemar: McNemar
    first: tuple[bool, ...]
    second: tuple[bool, ...]
    questions: tuple[Hashable, ...]

    def interval(self, level: float) -> Interval:
        """The difference with an interval of another level."""
        q = self.questions
        return interval_of(paired_difference(self.first, q, self.second, q, level=level))


def compare(first: Marks, second: Marks, *, level: float = 0.95, seed: int = 0) -> Paired | None:
    """Compare two methods on the questions and repeats that both have.

    Args:
        first: the method.
        second: what it is compared with.
        level: of the interval.
        seed: of the sign patterns, where they are drawn.

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
    by_question: dict[Hashable, list[int]] = {}
    for question, one, two in zip(questions, ones, twos, strict=True):
        by_question.setdefault(question, []).append(int(one) - int(two))
    means = [sum(own) / len(own) for own in by_question.values()]
    return Paired(
        difference=interval_of(difference),
        problems=difference.clusters,
        samples=len(shared),
        p=sign_flip_p(means, seed=seed) if len(means) > 1 else None,
        mcnemar=mcnemar(ones, twos),
        first=ones,
        second=twos,
        questions=questions,
    )


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of the mean difference under random signs.

    Args:
        differences: one a question.
        seed: of the sign patterns, where they are drawn.

    Returns:
        In (0, 1]; 1 if there is no difference anywhere.

    Raises:
        ValueError: fewer than two differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        raise ValueError("sign_flip_p needs two questions")
    changed = values[values != 0]  # a sign on nothing changes nothing
    if changed.size < 2:
        return 1.0
    found = stats.permutation_test(
        (changed,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BATCH,
        alternative="two-sided",
        random_state=np.random.default_rng(seed),
    )
    return min(1.0, float(found.pvalue))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's exact test: of the samples that only one has right, is it half and half?

    Args:
        first: verdicts of one method.
        second: verdicts of the other on the same samples.
    """
    one = sum(a and not b for a, b in zip(first, second, strict=True))
    other = sum(b and not a for a, b in zip(first, second, strict=True))
    p = 1.0 if one + other == 0 else float(stats.binomtest(one, one + other).pvalue)
    return McNemar(first=one, second=other, p=p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values: at most a share alpha of families has one false claim below alpha.

    Args:
        p_values: of one family; None where there is no test, which is then not of the family.

    Returns:
        In the same order, each at least as large as before, at most 1.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = highest
    return adjusted


def verdict(difference: Interval, p_adjusted: float | None, reference: str, level: float) -> str:
    """The comparison in words."""
    if p_adjusted is None:
        return "one problem: no interval, no test"
    if p_adjusted > 1 - level + 1e-12:
        return INDISTINCT
    return f"{'better' if difference.value > 0 else 'worse'} than {reference}"


def interval_of(estimate: Estimate, *, ends: tuple[float, float] | None = None) -> Interval:
    """An estimate as the schema has it.

    Args:
        estimate: from `statistics`.
        ends: where the figure ends by its nature; what lies beyond is cut off.
    """
    values = asdict(estimate)
    if ends is not None and estimate.low is not None and estimate.high is not None:
        values |= {"low": max(ends[0], estimate.low), "high": min(ends[1], estimate.high)}
    return Interval(**values)
