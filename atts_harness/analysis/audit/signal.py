"""What the score says of the answer: AUC for wrong samples, pooled and within question.

Pooled, a score can be good merely by telling hard questions from easy ones; within question it has
to tell a question's wrong samples from its right ones, which is what a takeover could act on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from atts_harness.analysis.audit.turns import AuditedTurn
from atts_harness.analysis.statistics import cluster_bootstrap
from atts_harness.records import SampleId

DRAWS = 400
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Auc(msgspec.Struct, frozen=True, kw_only=True):
    """How well a score tells wrong samples from right ones; 0.5 is chance.

    Attributes:
        score: which score of a sample (`turn 0`, `mean`, `last`).
        pooled: chance that a wrong sample scores higher than a right one of any question.
        pooled_low: of the 95 % interval over questions; None if it cannot be drawn.
        pooled_high: likewise.
        within: the same over pairs of one question; None if no question has both.
        within_low: likewise.
        within_high: likewise.
        wrong: samples.
        right: samples.
        mixed_questions: questions with both.
    """

    score: str
    pooled: float | None
    pooled_low: float | None
    pooled_high: float | None
    within: float | None
    within_low: float | None
    within_high: float | None
    wrong: int
    right: int
    mixed_questions: int


def signal_quality(
    turns: Sequence[AuditedTurn], right: Mapping[SampleId, bool], seed: int = 0
) -> tuple[Auc, ...]:
    """AUC of the first, the mean and the last score of each graded sample.

    Args:
        turns: scored turns.
        right: grades; samples without one are left out.
        seed: of the bootstrap.
    """
    by_sample: dict[SampleId, list[tuple[int, float]]] = {}
    for turn in turns:
        if turn.score is not None and turn.sample in right:
            by_sample.setdefault(turn.sample, []).append((turn.turn, turn.score))
    rows = [(sample, [s for _, s in sorted(scores)]) for sample, scores in by_sample.items()]
    if not rows:
        return ()
    wrong = np.array([not right[sample] for sample, _ in rows])
    questions: list[Hashable] = [(sample.task, sample.doc) for sample, _ in rows]
    return tuple(
        _auc(name, np.array([pick(scores) for _, scores in rows]), wrong, questions, seed)
        for name, pick in (
            ("turn 0", lambda scores: scores[0]),
            ("mean", lambda scores: math.fsum(scores) / len(scores)),
            ("last", lambda scores: scores[-1]),
        )
    )


def wins(scores: Floats, wrong: Flags) -> tuple[float, int]:
    """Mann-Whitney's U: pairs (wrong, right) with the higher score wrong, ties half; all pairs."""
    bad, good = scores[wrong], scores[~wrong]
    if not len(bad) or not len(good):
        return 0.0, 0
    found = stats.mannwhitneyu(bad, good, method="asymptotic")
    return float(found.statistic), len(bad) * len(good)


def _auc(name: str, scores: Floats, wrong: Flags, questions: Sequence[Hashable], seed: int) -> Auc:
    members: dict[Hashable, list[int]] = {}
    for index, question in enumerate(questions):
        members.setdefault(question, []).append(index)
    parts = {q: wins(scores[index], wrong[index]) for q, index in members.items()}
    mixed = {q: part for q, part in parts.items() if part[1]}
    won, pairs = wins(scores, wrong)
    low = high = None
    if pairs and len(members) > 1:
        low, high = _interval(lambda i: _ratio(*wins(scores[i], wrong[i])), questions, seed)
    within = within_low = within_high = None
    if mixed:
        within = _ratio(*map(sum, zip(*mixed.values(), strict=True)))
        if len(mixed) > 1:
            names = list(mixed)
            within_low, within_high = _interval(
                lambda i: _ratio(*map(sum, zip(*(mixed[names[n]] for n in i), strict=True))),
                names,
                seed,
            )
    return Auc(
        score=name,
        pooled=_ratio(won, pairs) if pairs else None,
        pooled_low=low,
        pooled_high=high,
        within=within,
        within_low=within_low,
        within_high=within_high,
        wrong=int(wrong.sum()),
        right=int((~wrong).sum()),
        mixed_questions=len(mixed),
    )


def _ratio(won: float, pairs: float) -> float:
    return won / pairs if pairs else math.nan


def _interval(
    statistic: Callable[[list[int]], float], questions: Sequence[Hashable], seed: int
) -> tuple[float | None, float | None]:
    """Bootstrap interval over questions; none where some draw has no pair to compare."""
    try:
        estimate = cluster_bootstrap(statistic, questions, draws=DRAWS, seed=seed)
    except ValueError:
        return None, None
    return estimate.low, estimate.high
