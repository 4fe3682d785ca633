"""Counts of right answers over a row's questions."""

from __future__ import annotations

from typing import Any

from atts_harness.analysis.leaderboard.paired import interval_of
from atts_harness.analysis.leaderboard.rows import Interval
from atts_harness.analysis.statistics import clustered_mean, pass_at_k
from atts_harness.grading.grade import KS, Grade
from atts_harness.results.entries import Entry
from atts_harness.results.saved import MISSING


def by_question(entry: Entry) -> dict[int, list[Grade]]:
    """Grades by document, in order."""
    found: dict[int, list[Grade]] = {}
    for sample, grade in entry.grades.items():
        found.setdefault(sample.doc, []).append(grade)
    return found


def counts(entry: Entry) -> dict[str, Any]:
    """The fields of a row that count samples.

    `invalid`, `truncated` and `failed` are None where nobody recorded what they need.
    """
    questions = by_question(entry)
    grades = list(entry.grades.values())
    marks: dict[str, int | None] = {}
    for name in ("truncated", "failed"):
        known = [getattr(grade, name) for grade in grades if grade.failed != MISSING]
        recorded = known and all(value is not None for value in known)
        marks[name] = sum(bool(value) for value in known) if recorded else None
    return {
        "problems": len(questions),
        "repeats": min((len(own) for own in questions.values()), default=0),
        "samples": len(grades),
        "invalid": sum(g.answer is None and not g.failed and not g.error for g in grades),
        **marks,
    }


def pass_at(entry: Entry, level: float) -> dict[str, Interval]:
    """pass@k for every k that all questions have samples for."""
    questions = list(by_question(entry).values())
    if not questions:
        return {}
    fewest = min(len(own) for own in questions)
    return {
        str(k): _mean(
            [pass_at_k(len(own), sum(g.right for g in own), k) for own in questions], level
        )
        for k in sorted({k for k in KS if k <= fewest} | {fewest})
    }


def maj_at(entry: Entry, level: float) -> dict[str, Interval]:
    """maj@k as graded, for every k that all questions have."""
    votes = list(entry.majority.values())
    if not votes:
        return {}
    ks = sorted(set.intersection(*(set(own) for own in votes)))
    return {str(k): _mean([own[k] for own in votes], level) for k in ks}


def _mean(shares: list[float], level: float) -> Interval:
    return interval_of(clustered_mean(shares, range(len(shares)), level=level, bounds=(0.0, 1.0)))
