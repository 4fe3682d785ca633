"""What lies behind a row: its graded samples, and the run directory that has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atts_harness.grading.grade import Grade
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId, SampleRecord


@dataclass(frozen=True)
class Question:
    """A question as it was asked.

    Attributes:
        doc: number that names it in records.
        key: fingerprint of question and gold: equal keys, equal questions.
        prompt: its text, for people; "" where nobody recorded it.
        gold: the right answer, as text.
    """

    doc: int
    key: str
    prompt: str
    gold: str


@dataclass(frozen=True)
class Entry:
    """The samples behind one row.

    Attributes:
        task: their task.
        questions: by document.
        grades: by sample, in order of documents and repeats; missing samples are in it, as failed.
        texts: by sample what was generated; "" where it is missing.
        majority: by document the question's maj@k, by k.
        run_dir: where records, calls, decisions and engine figures are; None for a row that was
            made without a run directory.
        results: lm-eval's results as loaded; empty for a bare run directory.
    """

    task: str
    questions: dict[int, Question]
    grades: dict[SampleId, Grade]
    texts: dict[SampleId, str]
    majority: dict[int, dict[int, float]] = field(default_factory=dict)
    run_dir: Path | None = None
    results: dict[str, Any] = field(default_factory=dict)

    def records(self) -> Iterator[SampleRecord]:
        """Finished samples of the task with turns, decisions and cost; none without a run."""
        if self.run_dir is None:
            return
        with open_run(self.run_dir) as run:
            for record in run.samples():
                if record.id.task == self.task:
                    yield record
