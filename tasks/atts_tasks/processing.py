"""From lm-eval's documents and results to grades; what the task files name through `!function`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from atts_harness.grading.grade import Grade, Sampled, grade_question, question_metrics
from atts_harness.records import SampleRecord
from atts_harness.results.golds import gold_of
from atts_harness.results.runs import sampled as of_record

GRADES = "graded"
"""Key of the per-repeat grades in a sample log; its aggregate is the number of samples."""


def sampled(answer: str) -> Sampled:
    """A returned answer as the grader takes it.

    Args:
        answer: a plain text (any lm-eval model), or one that carries its record as `.record`.
    """
    record = getattr(answer, "record", None)
    if not isinstance(record, SampleRecord):
        return Sampled(str(answer))
    return of_record(record)


def process_results(
    doc: Mapping[str, Any], results: Sequence[Any], extractor: str = "boxed"
) -> dict[str, Any]:
    """Grade one document.

    Args:
        doc: the document.
        results: one item: the repeats (a list), or a single answer where a filter took one.
        extractor: the one whose answer counts.

    Returns:
        The question's figures (`atts_harness.grading.grade.question_metrics`), and under
        `graded` a mapping for each repeat: what every extractor found and how it was graded.
    """
    answers = [results[0]] if isinstance(results[0], str) else list(results[0])
    gold = gold_of(doc)
    grades = grade_question([sampled(answer) for answer in answers], gold, extractor)
    for answer, grade in zip(answers, grades, strict=True):
        _note(answer, grade)
    figures: dict[str, Any] = dict(question_metrics(grades, gold, extractor))
    figures[GRADES] = [msgspec.to_builtins(grade) for grade in grades]
    return figures


def _note(answer: str, grade: Grade) -> None:
    """Let the sample's record hold what was extracted."""
    record = getattr(answer, "record", None)
    if isinstance(record, SampleRecord):
        record.answers.update(grade.answers)


def count(items: Sequence[Sequence[Any]]) -> int:
    """Number of samples behind a list of per-document grades."""
    return sum(len(item) for item in items)
