"""Grade a saved run again without generating: other extractors, a model's, a judge's opinion.

This is the published re-extraction made safe: samples are matched by question id and repeat, a
missing one is wrong and listed, and original answers stay where they are: results go into files
of their own.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.statistics import clustered_mean
from atts_harness.errors import BackendError
from atts_harness.grading.extraction import LLM, check_extractor
from atts_harness.grading.grade import Grade, Sampled, grade_question, question_metrics
from atts_harness.grading.workers import Grader, default
from atts_harness.judging.calls import Calls
from atts_harness.judging.llm import (
    extract_answer,
    extract_request,
    judge_request,
    judge_verdict,
)
from atts_harness.results.saved import PUBLISHED, PUBLISHED_REGEX, Question


@dataclass
class TaskGrades:
    """A task graded again.

    Attributes:
        task: which.
        extractor: whose answers count.
        questions: the questions, in order.
        grades: for each question its repeats' grades.
        figures: by metric: value, stderr, low, high.
        extractors: pass@1 of every extractor under the one grader: value, stderr, low, high.
        missing: (question id, repeat) of samples that are not there.
        judged: the judge's share of right samples and of samples on which it and the grader
            differ, or None.
        failed_calls: calls to models that gave no answer or opinion, by why.
    """

    task: str
    extractor: str
    questions: list[Question]
    grades: list[list[Grade]]
    figures: dict[str, dict[str, float | None]]
    extractors: dict[str, dict[str, float | None]]
    missing: list[tuple[str, int]]
    judged: dict[str, float] | None = None
    failed_calls: dict[str, int] = field(default_factory=dict)


def regrade(
    questions: Sequence[Question],
    extractor: str = "boxed",
    *,
    calls: Calls | None = None,
    judge: Calls | None = None,
    grader: Grader | None = None,
) -> list[TaskGrades]:
    """Grade questions again.

    Args:
        questions: of any number of tasks.
        extractor: a rule, or `llm`: recorded answers first, `calls` for those without.
        calls: to the extracting model.
        judge: to a judging model, asked about every answer beside the grader; it changes nothing.
        grader: default: the process-wide pool.

    Returns:
        One result a task.

    Raises:
        UnknownSettingError: no such extractor.
    """
    if extractor not in (PUBLISHED, PUBLISHED_REGEX):
        check_extractor(extractor)
    by_task: dict[str, list[Question]] = {}
    for question in questions:
        by_task.setdefault(question.task, []).append(question)
    return [_task(name, own, extractor, calls, judge, grader) for name, own in by_task.items()]


def _task(
    name: str,
    questions: list[Question],
    extractor: str,
    calls: Calls | None,
    judge: Calls | None,
    grader: Grader | None,
) -> TaskGrades:
    before = _failures(calls, judge)
    samples = [_extracted(question, extractor, calls) for question in questions]
    grades = [
        grade_question(own, question.gold, extractor, grader)
        for question, own in zip(questions, samples, strict=True)
    ]
    metrics = [
        question_metrics(own, question.gold, extractor, grader)
        for question, own in zip(questions, grades, strict=True)
    ]
    names = [key for key in metrics[0] if all(key in figures for figures in metrics)]
    # A model that failed on all repeats of a question says nothing about disagreement there.
    partly = dict.fromkeys(key for own in metrics for key in own if key.startswith("disagree_"))
    names += [key for key in partly if key not in names]
    missing = [(question.id, repeat) for question in questions for repeat in question.missing()]
    others = sorted({key for own in grades for grade in own for key in grade.answers})
    judged = _judged(questions, grades, judge) if judge is not None else None
    return TaskGrades(
        name,
        extractor,
        questions,
        grades,
        {key: _estimate([own[key] for own in metrics if key in own]) for key in names},
        {key: _pass_at_1(questions, grades, key, grader) for key in others},
        missing,
        judged,
        dict(sorted((_failures(calls, judge) - before).items())),
    )


def _failures(*of: Calls | None) -> Counter[str]:
    return sum((calls.failed for calls in of if calls is not None), Counter())


def _extracted(question: Question, extractor: str, calls: Calls | None) -> list[Sampled]:
    """The samples, with a model's extraction where that is asked for and not recorded."""
    samples = question.all_samples()
    if extractor != LLM or calls is None:
        return samples
    done = []
    kind = question.gold.kind
    for sample in samples:
        if LLM in sample.answers or sample.failed:
            done.append(sample)
            continue
        try:
            answer = calls.read(
                extract_request(sample.text, kind),
                lambda reply: extract_answer(reply.text, kind, cut=reply.cut),
            )
        except BackendError:
            done.append(sample)
            continue
        known = {**sample.answers, LLM: answer}
        done.append(msgspec.structs.replace(sample, answers=known))
    return done


def _estimate(values: Sequence[float]) -> dict[str, float | None]:
    found = asdict(clustered_mean(values, range(len(values)), bounds=(0, 1)))
    return {key: found[key] for key in ("value", "stderr", "low", "high")}


def _pass_at_1(
    questions: Sequence[Question],
    grades: Sequence[Sequence[Grade]],
    extractor: str,
    grader: Grader | None,
) -> dict[str, float | None]:
    """What another extractor's answers, which every grade holds, would have come to."""
    shares = []
    for question, own in zip(questions, grades, strict=True):
        given = [None if grade.failed else grade.answers.get(extractor) for grade in own]
        pairs = [(answer, question.gold) for answer in given if answer is not None]
        verdicts = (grader or default()).grade(pairs)
        shares.append(sum(verdict.right for verdict in verdicts) / len(own))
    return _estimate(shares)


def _judged(
    questions: Sequence[Question], grades: Sequence[Sequence[Grade]], judge: Calls
) -> dict[str, float]:
    right = differs = unknown = count = 0
    for question, own in zip(questions, grades, strict=True):
        for grade in own:
            count += 1
            if grade.answer is None:
                continue
            same: bool | None = None
            with contextlib.suppress(BackendError):  # counted by why, and as unknown
                same = judge.read(
                    judge_request(grade.answer, question.gold.text),
                    lambda reply: judge_verdict(reply.text, cut=reply.cut),
                )
            unknown += same is None
            right += same is True
            differs += same is not None and same != grade.right
    return {"right": right / count, "differs": differs / count, "unknown": unknown / count}


def calls_needed(questions: Sequence[Question], extractor: str) -> int:
    """Calls that extraction by a model would make, at most."""
    if extractor != LLM:
        return 0
    return sum(
        LLM not in sample.answers
        for question in questions
        for sample in question.samples.values()
        if not sample.failed
    )


def summary(results: Sequence[TaskGrades]) -> dict[str, Any]:
    """What `regraded-*.json` holds: figures a task, missing samples by name."""
    return {
        result.task: {
            "extractor": result.extractor,
            "questions": len(result.questions),
            "samples": sum(len(own) for own in result.grades),
            "figures": result.figures,
            "pass@1_by_extractor": result.extractors,
            "missing": result.missing,
            "judge": result.judged,
            "failed_calls": result.failed_calls,
        }
        for result in results
    }


def rows(results: Sequence[TaskGrades]) -> Iterator[Mapping[str, Any]]:
    """One flat row a sample: what was extracted, what had been, and the grade."""
    for result in results:
        for question, own in zip(result.questions, result.grades, strict=True):
            for repeat, grade in enumerate(own):
                yield {
                    "task": result.task,
                    "question": question.id,
                    "repeat": repeat,
                    "gold": question.gold.text,
                    **msgspec.to_builtins(grade),
                    "original": question.original.get(repeat),
                }


def write(results: Sequence[TaskGrades], folder: Path) -> tuple[Path, Path]:
    """Write summary and rows beside a run; nothing that was there is changed.

    Args:
        results: from `regrade`.
        folder: where to; made if it is not there.

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
