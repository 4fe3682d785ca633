"""Counts of right answers over a row's questions."""

from __future__ import annotations

from typing import Any

from atts_harness.analysis.leaderboard.paired import interval_of
from atts_harness.analysis.leaderboard.rows import Interval
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.statistics import clustered_mean, pass_at_k
from atts_harness.grading.grade import KS, Grade
from atts_harness.results.values import MISSING


def by_question(samples: RowSamples) -> dict[int, list[Grade]]:
    """Grades by document, in order."""
    grades: dict[int, list[Grade]] = {}
    for sample, grade in samples.grades.items():
        grades.setdefault(sample.doc, []).append(grade)
    return grades


def counts(samples: RowSamples) -> dict[str, Any]:
    """The fields of a row that count samples.

    `invalid`, `truncated` and `failed` are None if what they count was not recorded.
    """
    grades = list(samples.grades.values())
    marks: dict[str, int | None] = {}
    for name in ("truncated", "failed"):
        values = [getattr(grade, name) for grade in grades if grade.failed != MISSING]
        recorded = values and all(value is not None for value in values)
        marks[name] = sum(bool(value) for value in values) if recorded else None
    answers = None if samples.shares else sum(_invalid(grade) for grade in grades)
    return {
        "problems": len(samples.questions),
        "repeats": min(samples.repeats.values(), default=0),
        "samples": sum(samples.repeats.values()),
        **_votes(samples),
        "invalid": answers,
        "undecided": None if samples.shares else sum(g.undecided is not None for g in grades),
        **marks,
    }


def pass_at(samples: RowSamples, level: float) -> dict[str, Interval]:
    """pass@k for every k that all questions have samples for.

    If the task's own metric counts, "1" is its mean, and there is no other k.
    """
    if samples.shares:
        return {"1": _mean(list(samples.shares.values()), level)}
    questions = list(by_question(samples).values())
    if not questions:
        return {}
    if samples.votes:  # who votes decided how many samples there are
        return {
            "1": _mean([sum(g.right for g in grades) / len(grades) for grades in questions], level)
        }
    fewest = min(len(grades) for grades in questions)
    return {
        str(k): _mean(
            [pass_at_k(len(grades), sum(g.right for g in grades), k) for grades in questions], level
        )
        for k in sorted({k for k in KS if k <= fewest} | {fewest})
    }


def maj_at(samples: RowSamples, level: float) -> dict[str, Interval]:
    """maj@k as graded, for every k that all questions have."""
    votes = list(samples.majority.values())
    if not votes or len(votes) < len(samples.questions):  # a question with missing samples has none
        return {}
    ks = sorted(set.intersection(*(set(shares) for shares in votes)))
    return {str(k): _mean([shares[k] for shares in votes], level) for k in ks}


def vote(samples: RowSamples, level: float) -> Interval | None:
    """The vote's accuracy, of all questions; None for samples that do not vote."""
    if not samples.votes:
        return None
    return _mean([samples.votes.get(doc, 0.0) for doc in samples.questions], level)


def _votes(samples: RowSamples) -> dict[str, Any]:
    """How many samples the votes took; empty if samples do not vote."""
    if not samples.votes:
        return {}
    undrawn = sum(reason == "not-drawn" for reason in samples.absent.values())
    drawn = sum(samples.repeats.values()) - undrawn
    return {
        "drawn": drawn / len(samples.questions),
        "not_drawn": undrawn,
        "stopped": len(samples.absent) - undrawn,
    }


def _invalid(grade: Grade) -> bool:
    return grade.answer is None and not grade.failed and not grade.error


def _mean(shares: list[float], level: float) -> Interval:
    return interval_of(clustered_mean(shares, range(len(shares)), level=level, bounds=(0.0, 1.0)))
