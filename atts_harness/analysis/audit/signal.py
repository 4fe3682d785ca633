"""How well the score predicts wrong answers: its AUC, pooled and within questions.

Pooled, a score can look good by telling hard questions from easy ones; within a question it has
to tell a question's wrong samples from its right ones, which is what a takeover could act on.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from atts_harness.analysis.audit.turns import AuditedTurn
from atts_harness.analysis.statistics import clustered_auc, clustered_ratio
from atts_harness.records import SampleId

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


def signal_quality(turns: Sequence[AuditedTurn], right: Mapping[SampleId, bool]) -> tuple[Auc, ...]:
    """AUC of the first, the mean and the last score of each graded sample.

    Args:
        turns: scored turns.
        right: grades; samples without one are left out.
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
        _auc(name, np.array([pick(scores) for _, scores in rows]), wrong, questions)
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
    test = stats.mannwhitneyu(bad, good, method="asymptotic")
    return float(test.statistic), len(bad) * len(good)


def _auc(name: str, scores: Floats, wrong: Flags, questions: Sequence[Hashable]) -> Auc:
    members: dict[Hashable, list[int]] = {}
    for index, question in enumerate(questions):
        members.setdefault(question, []).append(index)
    parts = {q: wins(scores[index], wrong[index]) for q, index in members.items()}
    mixed = {q: part for q, part in parts.items() if part[1]}
    pooled = within = None
    if wrong.any() and not wrong.all():
        pooled = clustered_auc(scores, wrong.tolist(), questions)
    if mixed:
        won, pairs = zip(*mixed.values(), strict=True)
        within = clustered_ratio(won, pairs, list(mixed))
    return Auc(
        score=name,
        pooled=pooled.value if pooled else None,
        pooled_low=pooled.low if pooled else None,
        pooled_high=pooled.high if pooled else None,
        within=within.value if within else None,
        within_low=within.low if within else None,
        within_high=within.high if within else None,
        wrong=int(wrong.sum()),
        right=int((~wrong).sum()),
        mixed_questions=len(mixed),
    )
