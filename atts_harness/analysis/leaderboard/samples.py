"""The graded samples behind a row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import VOTE, Grade, Sampled, grade_question, question_metrics
from atts_harness.grading.workers import Grader
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId, SampleRecord
from atts_harness.results.values import (
    MISSING,
    AskedQuestion,
    SavedQuestion,
    SavedTask,
    TaskResults,
)

MAJORITY = re.compile(r"maj@(\d+)")
GRADED_HERE = "graded for this report by the harness's grader (extractor boxed)"


@dataclass(frozen=True)
class RowSamples:
    """The samples behind one row. Their texts are read only when they are needed.

    Attributes:
        task: their task.
        questions: by document.
        grades: by sample, in order of documents and repeats; missing samples are in it, as failed,
            absent ones are not.
            A sample that only the task's own metric could grade, and did not, is not in it.
        repeats: by document how many samples it should have.
        majority: by document the question's maj@k, by k.
        votes: by document the chance that the question's vote is right; empty without votes.
        absent: samples without an answer, and why: the vote did not draw them, or gave them up.
        shares: by document the value of the task's own metric; empty if grades count.
        run_dir: where records, calls, decisions and engine figures are; None for a row that was
            made without a run directory.
        saved: where the texts are.
        disagree: by extractor, the share of samples with another answer, as lm-eval recorded it.
    """

    task: str
    questions: dict[int, AskedQuestion]
    grades: dict[SampleId, Grade]
    repeats: dict[int, int] = field(default_factory=dict)
    majority: dict[int, dict[int, float]] = field(default_factory=dict)
    votes: dict[int, float] = field(default_factory=dict)
    absent: dict[SampleId, str] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    run_dir: Path | None = None
    saved: SavedTask | None = None
    disagree: Mapping[str, float] = field(default_factory=dict)

    @property
    def ids(self) -> set[SampleId]:
        """Every sample of the row, missing ones included."""
        planned = {SampleId(self.task, d, r) for d, n in self.repeats.items() for r in range(n)}
        return planned | self.grades.keys()

    def records(self) -> Iterator[SampleRecord]:
        """Finished samples of the row with turns, decisions and cost; none without a run."""
        if self.run_dir is None:
            return
        ids = self.ids
        with open_run(self.run_dir) as run:
            for record in run.samples(self.task):
                if record.id in ids:
                    yield record

    def texts(self, docs: Set[int]) -> dict[SampleId, str]:
        """What was generated for some documents."""
        texts: dict[SampleId, str] = {}
        for question in self.saved or ():
            doc = question.question.doc
            if doc in docs:
                texts |= {SampleId(self.task, doc, r): s.text for r, s in question.samples.items()}
        return texts


def graded(
    saved: SavedTask, results: TaskResults | None = None, leave_out: Set[int] = frozenset()
) -> tuple[RowSamples, list[str]]:
    """Read and grade the samples of a task, one question at a time.

    Grades that a task of this project recorded are taken. Of another task its own metric counts.
    Samples of this project's tasks that were not graded are graded here.

    Args:
        saved: the samples.
        results: what lm-eval's results say of the task; None for a bare run directory.
        leave_out: documents that are not part of the row.

    Returns:
        The samples, without a run; and notes for the reader.

    Raises:
        SettingError: a damaged file or one that is not a sample log, or a question without a gold.
    """
    metric = None if results is None or results.graded_here else results.accuracy
    row_samples = RowSamples(
        saved.task,
        {},
        {},
        saved=saved,
        disagree={} if results is None else _disagreements(results.metrics),
    )
    notes: dict[str, None] = {}
    for question in saved:
        if question.question.doc in leave_out:
            continue
        doc = question.question.doc
        row_samples.questions[doc] = question.question
        row_samples.repeats[doc] = max(len(question.samples), question.expected)
        if question.grades:
            _add(
                row_samples,
                doc,
                [question.grades[r] for r in sorted(question.grades)],
                question.figures,
            )
        elif results is None or results.graded_here:
            notes[GRADED_HERE] = None
            grades = grade_any(question.all_samples(), question.question)
            _add(row_samples, doc, grades, question_metrics(grades, question.question.golds[0]))
        elif metric is not None:
            _add_own(row_samples, question, metric)
    if metric is not None and row_samples.shares:
        name, _, filter_ = metric.partition(",")
        notes[f"accuracy is the task's own metric {name} (filter {filter_})"] = None
        if any(count > 1 for count in row_samples.repeats.values()):
            notes[f"{name} is of one sample a question"] = None
    return row_samples, list(notes)


def grade_any(
    samples: Sequence[Sampled],
    question: AskedQuestion,
    extractor: str = "boxed",
    grader: Grader | None = None,
) -> list[Grade]:
    """Grade the repeats of a question; an answer that equals any of its golds is right.

    Raises:
        SettingError: the question has no gold that the grader can read.
    """
    if not question.golds:
        raise SettingError(
            f"document {question.doc} has no gold that this grader can read; its own task grades it"
        )
    best = grade_question(samples, question.golds[0], extractor, grader)
    for gold in question.golds[1:]:
        other = _others(samples, gold, extractor, grader, best)
        best = [
            second if second.right and not first.right else first
            for first, second in zip(best, other, strict=True)
        ]
    return best


def add_missing(row_samples: RowSamples, missing: Sequence[SampleId]) -> None:
    """Add missing samples of the plan, as failed and wrong.

    A question without any sample has no text and no gold, but counts.
    """
    for sample in missing:
        if sample.doc not in row_samples.questions:
            row_samples.questions[sample.doc] = AskedQuestion(
                sample.doc, f"missing {sample.doc}", "", ""
            )
        row_samples.repeats[sample.doc] = max(
            row_samples.repeats.get(sample.doc, 0), sample.repeat + 1
        )
        row_samples.grades[sample] = Grade(right=False, answer=None, answers={}, failed=MISSING)
        row_samples.majority.pop(sample.doc, None)
        if row_samples.votes:  # nobody knows what the vote would have been
            row_samples.votes[sample.doc] = 0.0
        if row_samples.shares:
            row_samples.shares.setdefault(sample.doc, 0.0)


def _others(
    samples: Sequence[Sampled],
    gold: Gold,
    extractor: str,
    grader: Grader | None,
    best: Sequence[Grade],
) -> list[Grade]:
    if all(grade.right for grade in best):
        return list(best)
    return grade_question(samples, gold, extractor, grader)


def _add(
    row_samples: RowSamples, doc: int, grades: Sequence[Grade], figures: Mapping[str, float | None]
) -> None:
    for repeat, grade in enumerate(grades):
        sample = SampleId(row_samples.task, doc, repeat)
        if grade.absent:
            row_samples.absent[sample] = grade.absent
        else:
            row_samples.grades[sample] = grade
    if (vote := figures.get(VOTE)) is not None:
        row_samples.votes[doc] = vote
    row_samples.majority[doc] = {
        int(named[1]): float(value)
        for name, value in figures.items()
        if value is not None and (named := MAJORITY.fullmatch(name))
    }


def _add_own(row_samples: RowSamples, question: SavedQuestion, metric: str) -> None:
    """A question that its own task graded. A metric that is right or wrong makes a grade."""
    value = question.figures.get(metric.partition(",")[0])
    if value is None:
        return
    doc = question.question.doc
    row_samples.shares[doc] = value
    if value in (0.0, 1.0):
        sample = SampleId(row_samples.task, doc, 0)
        row_samples.grades[sample] = Grade(right=value == 1.0, answer=None, answers={})


def _disagreements(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name.partition(",")[0].removeprefix("disagree_"): value
        for name, value in metrics.items()
        if name.startswith("disagree_") and value is not None
    }
