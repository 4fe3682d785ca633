"""Grades the repeats of a question, and computes the question's figures from the grades.

lm-eval's tasks and `atts regrade` both use it: the same text, gold and extractor give the same
figures in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from atts_harness import neutral
from atts_harness.analysis.statistics import maj_at_k, pass_at_k, vote_share
from atts_harness.grading.equivalence import Gold, GradingVerdict
from atts_harness.grading.extraction import EXTRACTORS, LLM, extract
from atts_harness.grading.workers import Grader, candidates, default

log = neutral.logger(__name__)

KS = (1, 2, 4, 8, 16)
"""The k of pass@k, as far as there are repeats."""

MAJ_KS = (4, 8, 16)
"""The k of maj@k; the vote of all repeats is added if their number is not among these."""

VOTE, DRAWN, STOPPED = "vote", "drawn", "stopped"
"""A question's figures where its samples vote: chance that the vote is right, samples that were
drawn, and those of them that were given up."""

VOTES = {VOTE: True, DRAWN: False, STOPPED: False}
"""These figures, and whether higher is better."""


class Sampled(msgspec.Struct, frozen=True):
    """One repeat to be graded.

    Attributes:
        text: generated text.
        answers: answers that are recorded already, by extractor (those of `llm` always are).
        truncated: whether it ended for want of tokens; None if not recorded.
        failed: the error that ended it; "" if none; None if not recorded.
        weight: the weight of its answer in the question's vote; None: there is no vote.
        absent: `not-drawn` or `stopped` for a sample without an answer to vote for.
    """

    text: str
    answers: Mapping[str, str | None] = {}
    truncated: bool | None = None
    failed: str | None = None
    weight: float | None = None
    absent: str = ""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """One repeat, graded.

    Attributes:
        right: the chosen extractor's answer equals the gold.
        answer: that answer, None if the text gives none.
        answers: every extractor's answer.
        error: why grading failed; then `right` is False.
        undecided: why no rule of the grader covers the answer; then `right` is False.
        truncated: see `Sampled`.
        failed: see `Sampled`.
        weight: see `Sampled`.
        absent: see `Sampled`; the grade of such a sample counts nowhere.
    """

    right: bool
    answer: str | None
    answers: dict[str, str | None]
    error: str | None = None
    undecided: str | None = None
    truncated: bool | None = None
    failed: str | None = None
    weight: float | None = None
    absent: str = ""


def answers_of(sample: Sampled, gold: Gold) -> dict[str, str | None]:
    """The answer by every rule, and recorded ones (a model's, a published one)."""
    answers = {name: extract(name, sample.text, gold.kind) for name in EXTRACTORS}
    return answers | {k: v for k, v in sample.answers.items() if k not in EXTRACTORS}


def grade_question(
    samples: Sequence[Sampled], gold: Gold, extractor: str = "boxed", grader: Grader | None = None
) -> list[Grade]:
    """Grade the repeats of one question.

    A sample that failed is wrong whatever its text; a sample for which the chosen extractor has
    recorded nothing (`llm` without a call) has the error `not extracted`.

    Args:
        samples: the repeats.
        gold: the question's.
        extractor: the one whose answer counts.
        grader: default: the process-wide pool.

    Returns:
        A grade for each, in order.
    """
    pool = grader or default()
    answers_of_samples = [{} if sample.absent else answers_of(sample, gold) for sample in samples]
    counted = [
        None if sample.failed else answers.get(extractor)
        for sample, answers in zip(samples, answers_of_samples, strict=True)
    ]
    verdicts = iter(pool.grade([(answer, gold) for answer in counted if answer is not None]))
    grades = []
    for sample, answers, answer in zip(samples, answers_of_samples, counted, strict=True):
        verdict = next(verdicts) if answer is not None else GradingVerdict(False)
        error = verdict.error
        if extractor not in answers and not sample.failed and not sample.absent:
            error = "not extracted"
        grades.append(
            Grade(
                right=verdict.right,
                answer=answer,
                answers=answers,
                error=error,
                undecided=verdict.undecided,
                truncated=sample.truncated,
                failed=sample.failed,
                weight=sample.weight,
                absent=sample.absent,
            )
        )
    return grades


_COUNTED = ("invalid", "truncated", "failed", "grading_error", "undecided")


def metric_names(repeats: int) -> dict[str, bool]:
    """Names of a question's figures for so many repeats, and whether higher is better."""
    names = {f"pass@{k}": True for k in KS if k <= repeats}
    names |= {f"maj@{k}": True for k in _maj_ks(repeats)}
    if repeats > 1:
        names[f"oracle_any@{repeats}"] = True
    names |= dict.fromkeys(_COUNTED, False)
    return names | {f"disagree_{name}": False for name in (*EXTRACTORS, LLM)}


def _maj_ks(repeats: int) -> list[int]:
    return sorted({*(k for k in MAJ_KS if k <= repeats), *([repeats] if repeats > 2 else [])})


def question_metrics(
    grades: Sequence[Grade], gold: Gold, extractor: str = "boxed", grader: Grader | None = None
) -> dict[str, float]:
    """The figures of one question; their means over questions are the task's.

    `invalid` is the share of samples that ended and gave no answer, `failed` of those that never
    ended well; `truncated` and `failed` are left out if they were not recorded. `undecided` is the
    share of answers that are graded wrong because no rule of the grader covers them. `disagree_X`
    is the share of samples for which extractor X gives another answer than the chosen one, of those
    for which both have one (a model's call can fail); it is left out if there are none.

    If the samples vote, `vote` is the figure that counts, `pass@1` is of the samples that were
    drawn and not given up, and there is no other k: the vote decides how many samples there are.

    Args:
        grades: the repeats', at least one.
        gold: the question's.
        extractor: the chosen one.
        grader: default: the process-wide pool.

    Returns:
        Figures by the names of `metric_names`.
    """
    figures: dict[str, float] = {}
    if any(grade.weight is not None for grade in grades):
        figures = _voted(grades, gold, grader)
        grades = [grade for grade in grades if not grade.absent]
        if not grades:
            return figures
    n = len(grades)
    right = sum(grade.right for grade in grades)
    if figures:
        figures["pass@1"] = right / n
    else:
        figures = _of_all(grades, right, gold, grader)
    figures["invalid"] = _share(g.answer is None and not g.failed and not g.error for g in grades)
    for name in ("truncated", "failed"):
        values = [getattr(grade, name) for grade in grades]
        if all(value is not None for value in values):
            figures[name] = _share(bool(value) for value in values)
    figures["grading_error"] = _share(grade.error is not None for grade in grades)
    figures["undecided"] = _share(grade.undecided is not None for grade in grades)
    return figures | _disagreements(grades, gold, extractor, grader)


def _of_all(
    grades: Sequence[Grade], right: int, gold: Gold, grader: Grader | None
) -> dict[str, float]:
    """Figures of samples that do not vote: pass@k and maj@k."""
    n = len(grades)
    figures = {f"pass@{k}": pass_at_k(n, right, k) for k in KS if k <= n}
    ks = _maj_ks(n)
    if ks:
        votes = list(_weights(grades, [1.0] * n, gold, grader).values())
        silent = sum(grade.answer is None for grade in grades)
        figures |= {f"maj@{k}": maj_at_k(right, list(map(int, votes)), silent, k) for k in ks}
    if n > 1:
        figures[f"oracle_any@{n}"] = float(right > 0)
    return figures


def _voted(grades: Sequence[Grade], gold: Gold, grader: Grader | None) -> dict[str, float]:
    """Figures of a vote: whether it is right, and how many samples it took."""
    weights = [grade.weight or 0.0 for grade in grades]
    wrong = _weights(grades, weights, gold, grader)
    right = math.fsum(w for g, w in zip(grades, weights, strict=True) if g.right)
    return {
        VOTE: vote_share(right, list(wrong.values())),
        DRAWN: float(sum(grade.absent != "not-drawn" for grade in grades)),
        STOPPED: float(sum(grade.absent == "stopped" for grade in grades)),
    }


def _share(marks: Iterable[bool]) -> float:
    values = list(marks)
    return sum(values) / len(values)


def _weights(
    grades: Sequence[Grade], weights: Sequence[float], gold: Gold, grader: Grader | None
) -> dict[int | str, float]:
    """The weight of each wrong candidate; a sample without an answer does not vote."""
    voting = [(g, w) for g, w in zip(grades, weights, strict=True) if g.answer is not None]
    wrong = [(str(g.answer), w) for g, w in voting if not g.right and g.error is None]
    # An answer that computer algebra failed on once is compared by its text alone.
    odd = [(str(g.answer), w) for g, w in voting if g.error is not None]
    numbers = candidates([answer for answer, _ in wrong], gold, grader) if wrong else []
    by_candidate: dict[int | str, list[float]] = {}
    for number, (_, weight) in zip(numbers, wrong, strict=True):
        by_candidate.setdefault(number, []).append(weight)
    for text, weight in odd:
        by_candidate.setdefault(text, []).append(weight)
    return {candidate: math.fsum(votes) for candidate, votes in by_candidate.items()}


def _disagreements(
    grades: Sequence[Grade], gold: Gold, extractor: str, grader: Grader | None
) -> dict[str, float]:
    answered = [grade for grade in grades if grade.answer is not None and not grade.failed]
    names = list(dict.fromkeys(n for grade in answered for n in grade.answers if n != extractor))
    columns = {
        name: [(g, _pair(g.answers[name], g, gold)) for g in answered if g.answers.get(name)]
        for name in names
    }
    pairs = [pair for column in columns.values() for _, pair in column if pair is not None]
    verdicts = dict(zip(pairs, (grader or default()).grade(pairs), strict=True))
    return {
        f"disagree_{name}": _share(
            grade.answers[name] != grade.answer if pair is None else not verdicts[pair].right
            for grade, pair in column
        )
        for name, column in columns.items()
        if column
    }


def _pair(other: str | None, grade: Grade, gold: Gold) -> tuple[str, Gold] | None:
    """Two answers to compare; None if equal as texts or if one of them failed to compare before."""
    if other is None or grade.answer is None or grade.error is not None or other == grade.answer:
        return None
    return other, msgspec.structs.replace(gold, text=grade.answer)
