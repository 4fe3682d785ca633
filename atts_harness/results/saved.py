"""Saved runs as questions with their texts, whatever wrote them.

Three sources: a run directory of this project, lm-eval's sample logs (of any model), and the
recorded traces of the published code. Samples are matched by question id and repeat, never by
position; one that should be there and is not stays in the list as missing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import Sampled
from atts_harness.journal.reader import open_run
from atts_harness.journal.schema import JOURNAL

MISSING = "missing"
"""What a sample that is not there has failed of."""

PUBLISHED = "published"
PUBLISHED_REGEX = "published_regex"

Documents = Callable[[str], Sequence[Mapping[str, Any]]]
"""From a task's name to its documents, in order; each says under `PROMPTS` how it is asked."""

PROMPTS = "prompt_hashes"
"""Key of a document: digests (`hashing.prompt_hash`) of the prompts its task may make of it."""


@dataclass
class Question:
    """One question of a saved run.

    Attributes:
        task: its task.
        id: its own id where the source has one, else the document's number.
        gold: its right answer.
        samples: by repeat.
        expected: how many repeats there should be.
        original: answers that the source had recorded itself, by repeat.
    """

    task: str
    id: str
    gold: Gold
    samples: dict[int, Sampled] = field(default_factory=dict)
    expected: int = 0
    original: dict[int, str | None] = field(default_factory=dict)

    def missing(self) -> list[int]:
        """Repeats that should be there and are not."""
        return [repeat for repeat in range(self.expected) if repeat not in self.samples]

    def all_samples(self) -> list[Sampled]:
        """Every repeat in order; a missing one is a failed one."""
        empty = Sampled("", failed=MISSING)
        return [self.samples.get(repeat, empty) for repeat in range(self.expected)]


def gold_of(doc: Mapping[str, Any], target: Any = None) -> Gold:
    """The gold that a document holds: `gold` with what goes with it, a plain `answer`, or a target.

    Args:
        doc: one of our tasks' documents, or any other task's.
        target: what the task names as its target; for documents without `gold`.

    Raises:
        SettingError: neither is there.
    """
    if "gold" in doc:
        return Gold(
            str(doc["gold"]),
            kind=doc.get("kind", "maths"),
            several=bool(doc.get("several")),
            tolerance=doc.get("tolerance"),
            unit=doc.get("unit"),
        )
    plain = target if target is not None else doc.get("answer")
    if plain is None:
        raise SettingError("a document without a gold, an answer or a target cannot be graded")
    # GSM8K's answers end in "#### 18".
    return Gold(str(plain).rpartition("####")[2].strip())


def read(
    path: Path, documents: Documents | None = None, repeats: int | None = None
) -> list[Question]:
    """Whatever saved run there is at a path.

    Args:
        path: a run directory, a folder with lm-eval sample logs anywhere below it, one such log,
            or a file of published traces (`.jsonl` or `.jsonl.gz`).
        documents: where the documents of a run directory's tasks come from; only needed there.
        repeats: samples a question should have, where the source does not say; default: the most
            that any of its questions has.

    Returns:
        The questions, by task and in order of appearance.

    Raises:
        SettingError: nothing to read there; says what was looked for.
    """
    if path.is_file():
        return _read_file(path, repeats)
    logs = sorted(path.rglob("samples_*.jsonl")) if path.is_dir() else []
    if logs:
        return [question for log in _newest(logs) for question in _read_file(log, repeats)]
    if (path / JOURNAL).is_file():
        return _read_run(path, documents)
    raise SettingError(
        f"{path}: nothing to grade: neither a run directory ({JOURNAL}), nor lm-eval sample logs "
        "(samples_*.jsonl, from --log_samples), nor a file of published traces"
    )


def _newest(logs: Sequence[Path]) -> list[Path]:
    """Of several logs of one task in one folder (their names end in a date) the last."""
    newest: dict[tuple[Path, str], Path] = {}
    for log in logs:
        newest[log.parent, log.name.rpartition("_")[0]] = log
    return list(newest.values())


def _read_file(path: Path, repeats: int | None) -> list[Question]:
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise SettingError(f"{path}: empty")
    every = _chain(first, rows)
    if "turns" in first and "question_id" in first:
        questions = _from_traces(path.name.partition(".")[0], every)
    elif "resps" in first and "doc" in first:
        name = path.stem.removeprefix("samples_")
        questions = _from_log(name.rpartition("_")[0] or name, every)
    else:
        raise SettingError(
            f"{path}: neither an lm-eval sample log nor published traces (its first line has "
            f"{', '.join(sorted(first)[:8])})"
        )
    most = max(max(question.samples, default=-1) + 1 for question in questions)
    for question in questions:
        question.expected = max(repeats or most, question.expected)
    return questions


def _chain(first: dict[str, Any], rest: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    packed = path.suffix == ".gz"
    with (
        gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines
    ):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise SettingError(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise SettingError(f"{path}: line {number} is not an object")
            yield row


def trace_text(turns: Iterable[Mapping[str, Any]]) -> str:
    """A published sample's transcript as its code joined it: a blank line between all chunks."""
    chunks = [turn[part] for turn in turns for part in ("draft", "target") if part in turn]
    return "\n\n".join(chunks)


def _from_traces(task: str, rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    questions: dict[str, Question] = {}
    for row in rows:
        key = str(row["question_id"])
        question = questions.setdefault(key, Question(task, key, Gold(str(row["gold"]))))
        repeat = int(row["repeat"])
        if repeat in question.samples:
            raise SettingError(f"{task}: question {key}, repeat {repeat} is there twice")
        recorded = {
            PUBLISHED: _published(row.get("answer")),
            PUBLISHED_REGEX: _published(row.get("answer_regex")),
        }
        question.samples[repeat] = Sampled(trace_text(row["turns"]), recorded)
        question.original[repeat] = recorded[PUBLISHED]
    return list(questions.values())


def _published(answer: Any) -> str | None:
    return None if answer in (None, "invalid") else str(answer)


def _from_log(task: str, rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    questions: dict[str, Question] = {}
    for row in rows:
        doc = row["doc"]
        key = str(doc.get("id", doc.get("doc_id", row["doc_id"])))
        if key in questions:
            continue  # one row a filter; the texts are the same
        question = questions[key] = Question(task, key, gold_of(doc, row.get("target")))
        texts = [text for request in row["resps"] for text in request]
        graded = row.get("graded") or [{} for _ in texts]
        for repeat, (text, known) in enumerate(zip(texts, graded, strict=True)):
            question.samples[repeat] = Sampled(
                text, known.get("answers") or {}, known.get("truncated"), known.get("failed")
            )
            if "answer" in known:
                question.original[repeat] = known["answer"]
    return list(questions.values())


def matched(
    documents: Sequence[Mapping[str, Any]], asked: Mapping[int, str], task: str
) -> dict[int, Mapping[str, Any]]:
    """The document behind each question of a run, found by the prompt's digest, never by number.

    Args:
        documents: the task's, as they are here.
        asked: by the run's number of a document, its prompt's digest.
        task: its name, for messages.

    Returns:
        By the run's number, the document.

    Raises:
        SettingError: a question is not among the documents, or equally worded documents have
            different golds.
    """
    by_prompt: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for prompt in document.get(PROMPTS, ()):
            other = by_prompt.setdefault(prompt, document)
            if other is not document and gold_of(other) != gold_of(document):
                raise SettingError(
                    f"task {task}: two documents are asked in the same words and have different "
                    "golds; grade the run's sample logs (lm-eval's --log_samples) instead"
                )
    lost = [number for number, prompt in sorted(asked.items()) if prompt not in by_prompt]
    if lost:
        raise SettingError(
            f"task {task}: {len(lost)} of {len(asked)} questions of the run, the first of them "
            f"document {lost[0]}, are not asked in these words by the task as it is here; use the "
            "run's data and metadata, and its --system-instruction if it had one, or grade its "
            "sample logs (lm-eval's --log_samples)"
        )
    return {number: by_prompt[prompt] for number, prompt in asked.items()}


def _read_run(path: Path, documents: Documents | None) -> list[Question]:
    if documents is None:
        raise SettingError(f"{path}: grading a run directory needs its tasks' documents")
    questions: dict[tuple[str, int], Question] = {}
    with open_run(path) as run:
        planned = run.planned()
        asked: dict[str, dict[int, str]] = {}
        for sample_id, prompt in planned.items():
            asked.setdefault(sample_id.task, {})[sample_id.doc] = prompt
        known = {task: matched(documents(task), own, task) for task, own in asked.items()}
        for key in planned:
            doc = known[key.task][key.doc]
            question = questions.setdefault(
                (key.task, key.doc), Question(key.task, str(doc.get("id", key.doc)), gold_of(doc))
            )
            question.expected = max(question.expected, key.repeat + 1)
        for sample in run.samples():
            question = questions[sample.id.task, sample.id.doc]
            question.samples[sample.id.repeat] = Sampled(
                sample.text, sample.answers, sample.truncated, sample.failed or ""
            )
            if sample.answers.get("boxed") is not None:
                question.original[sample.id.repeat] = sample.answers["boxed"]
    return list(questions.values())
