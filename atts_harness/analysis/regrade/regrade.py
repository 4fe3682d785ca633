"""Grade a saved run again without generating: by other extractors, a model's extraction or a judge.

This is the published re-extraction made safe: samples are matched by question id and repeat, a
missing one is wrong and listed, and original answers stay where they are: results go into files
of their own.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.samples import grade_any
from atts_harness.analysis.statistics import clustered_mean
from atts_harness.errors import BackendError, SettingError
from atts_harness.grading.extraction import LLM, check_extractor
from atts_harness.grading.grade import DRAWN, STOPPED, Grade, Sampled, question_metrics
from atts_harness.grading.workers import Grader, default
from atts_harness.judging.calls import JudgeCalls
from atts_harness.judging.llm import (
    extract_answer,
    extract_request,
    judge_request,
    judge_verdict,
)
from atts_harness.results.published import PUBLISHED, PUBLISHED_REGEX
from atts_harness.results.values import SavedQuestion, SavedTask

Figures = dict[str, float | None]
"""A figure and its question-clustered interval: `value`, `stderr`, `low`, `high`, if known."""
COUNTS = frozenset({DRAWN, STOPPED})
"""Figures of a question that are numbers of samples, not shares."""
UNKNOWN: Figures = dict.fromkeys(("value", "stderr", "low", "high"))


@dataclass
class TaskGrades:
    """The new grades of a task.

    Attributes:
        task: which; with its folder where several runs of one task are graded.
        extractor: the one whose answers count.
        questions: the questions, in order.
        grades: for each question its repeats' grades; empty where there is no gold to grade by.
        figures: by metric.
        extractors: pass@1 by every extractor with the same grader; `samples` is of how many
            samples. Unknown if an extractor never ran.
        missing: (question, repeat) of missing samples.
        judged: the judge's share of right samples and of samples on which it and the grader
            differ, or None.
        failed_calls: calls to models that gave no answer or opinion, by reason.
        ungraded: why there are no grades; "" if there are.
    """

    task: str
    extractor: str
    questions: list[SavedQuestion]
    grades: list[list[Grade]]
    figures: dict[str, Figures]
    extractors: dict[str, Figures]
    missing: list[tuple[str, int]]
    judged: dict[str, float] | None = None
    failed_calls: dict[str, int] = field(default_factory=dict)
    ungraded: str = ""


@dataclass(frozen=True)
class Means:
    """The extractor, grader and models that regrading uses.

    Attributes:
        extractor: a rule, or `llm`: recorded answers first, `calls` for those without.
        repeats: samples a question should have; None: the most that any of its task's has.
        calls: to the extracting model.
        judge: to a judging model, asked about every answer beside the grader; it changes nothing.
        grader: default: the process-wide pool.
    """

    extractor: str = "boxed"
    repeats: int | None = None
    calls: JudgeCalls | None = None
    judge: JudgeCalls | None = None
    grader: Grader | None = None


def regrade(tasks: Iterable[SavedTask], means: Means | None = None) -> list[TaskGrades]:
    """Grade saved samples again.

    Args:
        tasks: of one run or of several.
        means: extractor, grader and models to use.

    Returns:
        One result for each; two runs of one task are never put together.

    Raises:
        UnknownSettingError: no such extractor.
        SettingError: a saved sample cannot be read.
    """
    means = means or Means()
    if means.extractor not in (PUBLISHED, PUBLISHED_REGEX):
        check_extractor(means.extractor)
    return [_task(task.task, expected(task, means.repeats), means) for task in tasks]


def expected(saved: Iterable[SavedQuestion], repeats: int | None = None) -> list[SavedQuestion]:
    """Questions with the number of samples that each should have.

    Args:
        saved: the questions.
        repeats: samples of each; None: the most that any of them has.
    """
    questions = list(saved)
    most = max((max(question.samples, default=-1) + 1 for question in questions), default=0)
    least = repeats or most
    return [replace(question, expected=max(least, question.expected)) for question in questions]


def _task(name: str, questions: list[SavedQuestion], means: Means) -> TaskGrades:
    missing = [
        (question.question.name, repeat) for question in questions for repeat in question.missing()
    ]
    lacking = [question.question for question in questions if not question.question.golds]
    if lacking and len(lacking) < len(questions):
        raise SettingError(
            f"task {name}: document {lacking[0].doc} has no gold that this grader can read"
        )
    if lacking or not questions:
        reason = "no gold that this grader can read; the task grades by a metric of its own"
        return TaskGrades(name, means.extractor, questions, [], {}, {}, missing, ungraded=reason)
    before = _failures(means.calls, means.judge)
    samples = [_extracted(question, means) for question in questions]
    grades = [
        grade_any(repeats, question.question, means.extractor, means.grader)
        for question, repeats in zip(questions, samples, strict=True)
    ]
    metrics = [
        question_metrics(question_grades, question.question.golds[0], means.extractor, means.grader)
        for question, question_grades in zip(questions, grades, strict=True)
    ]
    names = [key for key in metrics[0] if all(key in figures for figures in metrics)]
    # A question for which no two extractors gave an answer has no figure of disagreement.
    partly = dict.fromkeys(
        key for figures in metrics for key in figures if key.startswith("disagree_")
    )
    names += [key for key in partly if key not in names]
    others = sorted(
        {
            means.extractor,
            *(k for question_grades in grades for g in question_grades for k in g.answers),
        }
    )
    figures = {
        key: _estimate(
            [figures[key] for figures in metrics if key in figures], counted=key in COUNTS
        )
        for key in names
    }
    if not any(
        means.extractor in grade.answers for question_grades in grades for grade in question_grades
    ):
        # This extractor never ran, so accuracy is unknown and not 0.
        figures = {key: UNKNOWN if key != "grading_error" else f for key, f in figures.items()}
    judged = _judged(questions, grades, means.judge) if means.judge is not None else None
    return TaskGrades(
        name,
        means.extractor,
        questions,
        grades,
        figures,
        {key: _pass_at_1(questions, grades, key, means.grader) for key in others},
        missing,
        judged,
        dict(sorted((_failures(means.calls, means.judge) - before).items())),
    )


def _failures(*of: JudgeCalls | None) -> Counter[str]:
    return sum((calls.failed for calls in of if calls is not None), Counter())


def _extracted(question: SavedQuestion, means: Means) -> list[Sampled]:
    """The samples, with a model's extraction where that is asked for and not recorded."""
    samples, calls = question.all_samples(), means.calls
    if means.extractor != LLM or calls is None:
        return samples
    extracted = []
    kind = question.question.golds[0].kind
    for sample in samples:
        if LLM in sample.answers or sample.failed or sample.absent:
            extracted.append(sample)
            continue
        try:
            answer = calls.read(
                extract_request(sample.text, kind),
                lambda reply: extract_answer(reply.text, kind, cut=reply.cut),
            )
        except BackendError:
            extracted.append(sample)
            continue
        answers = {**sample.answers, LLM: answer}
        extracted.append(msgspec.structs.replace(sample, answers=answers))
    return extracted


def _estimate(values: Sequence[float], *, counted: bool = False) -> Figures:
    bounds = None if counted else (0, 1)
    estimate = asdict(clustered_mean(values, range(len(values)), bounds=bounds))
    return {key: estimate[key] for key in ("value", "stderr", "low", "high")}


def _pass_at_1(
    questions: Sequence[SavedQuestion],
    grades: Sequence[Sequence[Grade]],
    extractor: str,
    grader: Grader | None,
) -> Figures:
    """pass@1 if another extractor's answers counted, of the samples that it was run on.

    A sample that failed is wrong by every extractor.
    """
    shares, count, recorded = [], 0, False
    for question, repeats in zip(questions, grades, strict=True):
        repeats = [grade for grade in repeats if not grade.absent]
        countable = [grade for grade in repeats if grade.failed or extractor in grade.answers]
        recorded = recorded or any(extractor in grade.answers for grade in repeats)
        if not countable:
            continue
        extractions = [grade.answers.get(extractor) for grade in countable if not grade.failed]
        answers = [answer for answer in extractions if answer is not None]
        right = sum(_right(answer, question, grader) for answer in answers)
        shares.append(right / len(countable))
        count += len(countable)
    if not recorded:
        return {**UNKNOWN, "samples": 0}
    return {**_estimate(shares), "samples": count}


def _right(answer: str, question: SavedQuestion, grader: Grader | None) -> bool:
    pairs = [(answer, gold) for gold in question.question.golds]
    return any(verdict.right for verdict in (grader or default()).grade(pairs))


def _judged(
    questions: Sequence[SavedQuestion], grades: Sequence[Sequence[Grade]], judge: JudgeCalls
) -> dict[str, float]:
    right = differs = unknown = count = 0
    for question, repeats in zip(questions, grades, strict=True):
        for grade in repeats:
            count += 1
            if grade.answer is None:
                continue
            same: bool | None = None
            with contextlib.suppress(BackendError):  # counted by why, and as unknown
                same = judge.read(
                    judge_request(grade.answer, question.question.gold),
                    lambda reply: judge_verdict(reply.text, cut=reply.cut),
                )
            unknown += same is None
            right += same is True
            differs += same is not None and same != grade.right
    return {"right": right / count, "differs": differs / count, "unknown": unknown / count}


def readable(tasks: Sequence[SavedTask]) -> tuple[list[SavedTask], list[tuple[str, SettingError]]]:
    """The tasks whose samples can be read, and why the others cannot.

    Raises:
        SettingError: none can.
    """
    sound: list[SavedTask] = []
    broken: list[tuple[str, SettingError]] = []
    for saved in tasks:
        try:
            for _ in saved:
                pass
        except SettingError as error:
            broken.append((saved.task, error))
        else:
            sound.append(saved)
    if not sound and broken:
        raise broken[0][1]
    return sound, broken


def calls_needed(tasks: Iterable[SavedTask], extractor: str) -> int:
    """Calls that extraction by a model would make, at most."""
    if extractor != LLM:
        return 0
    return sum(
        LLM not in sample.answers
        for task in tasks
        for question in task
        for sample in question.samples.values()
        if not sample.failed and not sample.absent
    )


def summary(results: Sequence[TaskGrades]) -> dict[str, Any]:
    """What `regraded-*.json` holds: figures a task, missing samples by name."""
    return {
        result.task: {
            "extractor": result.extractor,
            "questions": len(result.questions),
            "samples": sum(len(grades) for grades in result.grades),
            "figures": result.figures,
            "pass@1_by_extractor": result.extractors,
            "missing": result.missing,
            "judge": result.judged,
            "failed_calls": result.failed_calls,
            "ungraded": result.ungraded or None,
        }
        for result in results
    }


def rows(results: Sequence[TaskGrades]) -> Iterator[Mapping[str, Any]]:
    """One flat row a sample: what was extracted, what had been, and the grade.

    A task without readable golds has no grades, and no rows.
    """
    for result in results:
        if result.ungraded:
            continue
        for question, grades in zip(result.questions, result.grades, strict=True):
            for repeat, grade in enumerate(grades):
                yield {
                    "task": result.task,
                    "question": question.question.name,
                    "doc": question.question.doc,
                    "repeat": repeat,
                    "gold": question.question.gold,
                    **msgspec.to_builtins(grade),
                    "original": question.original.get(repeat),
                }


def write(results: Sequence[TaskGrades], folder: Path) -> tuple[Path, Path]:
    """Write summary and rows beside a run; nothing that was there is changed.

    Args:
        results: from `regrade`.
        folder: for both files; created if it does not exist.

    Returns:
        The summary's path and the rows' path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"regraded-{results[0].extractor}"
    head, body = folder / f"{stem}.json", folder / f"{stem}.jsonl"
    head.write_text(json.dumps(summary(results), indent=1) + "\n", encoding="utf-8")
    with body.open("w", encoding="utf-8") as out:
        for row in rows(results):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return head, body
