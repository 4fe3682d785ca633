"""The samples of a run directory. A journal holds texts and no golds: those come from the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError
from atts_harness.files import decode, read_lines
from atts_harness.grading.grade import Sampled
from atts_harness.journal.reader import RecordedRun, open_run
from atts_harness.records import ABSENT, SampleRecord
from atts_harness.results.golds import (
    Documents,
    golds_of,
    match_documents,
    question_key,
    question_text,
)
from atts_harness.results.values import AskedQuestion, SavedQuestion, SavedTask

DOCUMENTS = "documents.jsonl"
"""In an imported run: its questions with their golds, a line each, in the form of a task's."""


def own_documents(path: Path) -> Documents | None:
    """The documents in a run directory; None if it has none, as every run of this project.

    Raises:
        SettingError: by the returned function, if they cannot be read.
    """
    file = path / DOCUMENTS
    if not file.is_file():
        return None
    return lambda _task: [
        decode(line, dict[str, Any], f"{file}: line {number}") for number, line in read_lines(file)
    ]


def tasks_of(path: Path, documents: Documents | None) -> list[SavedTask]:
    """The tasks of a run directory, in order.

    Args:
        path: the run directory.
        documents: a task's documents.

    Raises:
        SettingError: there are no documents, or they are not those that were run.
        RunDirError: there is no run, or it cannot be read.
    """
    documents = own_documents(path) or documents
    if documents is None:
        raise SettingError(f"{path}: grading a run directory needs its tasks' documents")
    with open_run(path) as run:
        names = list(dict.fromkeys(sample.task for sample in run.planned()))
    return [task_of(path, name, documents) for name in names]


def task_of(path: Path, task: str, documents: Documents) -> SavedTask:
    """The saved samples of one task of a run directory.

    Raises:
        SettingError: its documents are not those that were run.
    """
    with open_run(path) as run:
        prompts = {s.doc: prompt for s, prompt in run.planned().items() if s.task == task}
    by_number = match_documents(documents(task), prompts, task)

    def read() -> Iterator[SavedQuestion]:
        with open_run(path) as run:
            yield from _questions(run, task, by_number)

    return SavedTask(task, read)


def question_of(doc: Mapping[str, Any], number: int, target: Any = None) -> AskedQuestion:
    """The question that a document is.

    Args:
        doc: the document.
        number: its number in records.
        target: the task's target for it.

    Raises:
        SettingError: the field `gold` holds no answer.
    """
    try:
        golds = golds_of(doc, target)
    except SettingError as error:
        raise SettingError(f"document {number}: {error}") from error
    text = golds[0].text if golds else ""
    id_ = doc.get("id")
    return AskedQuestion(
        number,
        question_key(doc, text),
        question_text(doc),
        text,
        golds,
        "" if id_ is None else str(id_),
    )


def sampled(record: SampleRecord) -> Sampled:
    """A finished sample as graders take it."""
    return Sampled(
        record.text,
        record.answers,
        record.truncated,
        record.failed or "",
        record.weight,
        record.finish if record.finish in ABSENT else "",
    )


def _questions(
    run: RecordedRun, task: str, documents: Mapping[int, Mapping[str, Any]]
) -> Iterator[SavedQuestion]:
    """Questions by document. Samples come in that order too, so only one question is in memory."""
    planned: dict[int, int] = {}
    for sample in run.planned():
        if sample.task == task:
            planned[sample.doc] = max(planned.get(sample.doc, 0), sample.repeat + 1)
    records = run.samples(task)
    record = next(records, None)
    for number in sorted(planned):
        samples: dict[int, Sampled] = {}
        while record is not None and record.id.doc == number:
            samples[record.id.repeat] = sampled(record)
            record = next(records, None)
        yield SavedQuestion(
            question_of(documents[number], number),
            samples,
            original={r: s.answers["boxed"] for r, s in samples.items() if s.answers.get("boxed")},
            expected=planned[number],
        )
