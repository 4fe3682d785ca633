"""The graded samples of a task: from lm-eval's sample log, or from a run and its documents."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.conformal.provenance import fingerprint
from atts_harness.errors import SettingError
from atts_harness.grading.grade import Grade, Sampled, grade_question, question_metrics
from atts_harness.journal.reader import RecordedRun
from atts_harness.records import SampleId
from atts_harness.results.entries import Entry, Question
from atts_harness.results.saved import MISSING, PROMPTS, Documents, gold_of, matched

MAJORITY = re.compile(r"maj@(\d+)")
QUESTION_FIELDS = ("prompt", "problem", "question", "Question")
ADDED = frozenset({"answer", "doc_id", PROMPTS})
GRADED_HERE = "graded for this report by the harness's grader (extractor boxed)"


def from_log(path: Path, task: str) -> tuple[Entry, list[str]]:
    """Graded samples from a sample log of lm-eval, of any model.

    Grades that one of our tasks recorded are taken; other tasks' samples are graded here.

    Returns:
        The entry, without a run; and what a reader has to know.

    Raises:
        SettingError: it is no sample log of generated texts.
    """
    rows = list(_rows(path))
    if not rows:
        raise SettingError(f"{path}: holds no samples")
    numbers = _numbers(rows)
    entry = Entry(task, {}, {}, {}, {})
    notes: set[str] = set()
    for row in rows:
        doc = numbers[row["doc_id"]]
        if doc in entry.questions:
            continue  # one row a filter; the texts are the same
        gold = gold_of(row["doc"], row.get("target"))
        texts = [text for request in row["resps"] for text in request]
        if not all(isinstance(text, str) for text in texts):
            raise SettingError(f"{path}: its answers are no texts; only generation can be reported")
        figures: Mapping[str, Any] = row
        if isinstance(row.get("graded"), list):
            grades = [msgspec.convert(known, Grade) for known in row["graded"]]
        else:
            notes.add(GRADED_HERE)
            grades = grade_question([Sampled(text) for text in texts], gold)
            figures = question_metrics(grades, gold)
        if len(grades) != len(texts):
            raise SettingError(
                f"{path}: document {doc} has {len(texts)} answers and {len(grades)} grades"
            )
        entry.questions[doc] = Question(
            doc, question_key(row["doc"], gold.text), _prompt(row), gold.text
        )
        _add(entry, doc, grades, texts, figures)
    return entry, sorted(notes)


def from_run(run: RecordedRun, task: str, documents: Documents) -> tuple[Entry, list[str]]:
    """Graded samples of a run directory without a sample log: graded here, missing ones as failed.

    Raises:
        SettingError: the task's documents cannot be had, or are not those that were run.
    """
    asked: dict[int, str] = {}
    planned: dict[int, list[int]] = {}
    for sample, prompt in run.planned().items():
        if sample.task == task:
            asked[sample.doc] = prompt
            planned.setdefault(sample.doc, []).append(sample.repeat)
    by_id = matched(documents(task), asked, task)
    records = {r.id: r for r in run.samples() if r.id.task == task}
    entry = Entry(task, {}, {}, {}, {})
    for number, repeats in planned.items():
        gold = gold_of(by_id[number])
        samples = []
        for repeat in repeats:
            record = records.get(SampleId(task, number, repeat))
            samples.append(
                Sampled("", failed=MISSING)
                if record is None
                else Sampled(record.text, record.answers, record.truncated, record.failed or "")
            )
        grades = grade_question(samples, gold)
        prompt = _text_of(by_id[number])
        entry.questions[number] = Question(
            number, question_key(by_id[number], gold.text), prompt, gold.text
        )
        figures = question_metrics(grades, gold)
        _add(entry, number, grades, [s.text for s in samples], figures, repeats)
    return entry, [GRADED_HERE]


def add_missing(entry: Entry, missing: Sequence[SampleId]) -> None:
    """Add samples that were asked for and are not there, as failed.

    Questions of which nothing is there are left out: their golds are not known.
    """
    for sample in missing:
        if sample.doc in entry.questions:
            entry.grades[sample] = Grade(right=False, answer=None, answers={}, failed=MISSING)
            entry.texts[sample] = ""


def question_key(doc: Mapping[str, Any], gold: str) -> str:
    """Fingerprint of a question and its gold.

    What a task may add to its documents later is left out, for lm-eval's logs lack it.
    """
    plain = {name: value for name, value in doc.items() if name not in ADDED}
    return fingerprint(json.dumps(plain, sort_keys=True, default=str), gold)


def _add(
    entry: Entry,
    doc: int,
    grades: Sequence[Grade],
    texts: Sequence[str],
    figures: Mapping[str, Any],
    repeats: Sequence[int] | None = None,
) -> None:
    for repeat, grade, text in zip(repeats or range(len(grades)), grades, texts, strict=True):
        entry.grades[SampleId(entry.task, doc, repeat)] = grade
        entry.texts[SampleId(entry.task, doc, repeat)] = text
    entry.majority[doc] = {
        int(found[1]): float(value)
        for name, value in figures.items()
        if (found := MAJORITY.fullmatch(name)) and isinstance(value, int | float)
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise SettingError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(row, dict) or not {"doc_id", "doc", "resps"} <= row.keys():
            raise SettingError(f"{path}: line {number} is no sample of lm-eval's logs")
        if not isinstance(row["doc"], dict):
            row["doc"] = {"document": row["doc"]}
        yield row


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """By lm-eval's number of a document the number that names it in records (see planning)."""
    own = {row["doc_id"]: row["doc"].get("doc_id") for row in rows}
    counts = Counter(own.values())
    usable = all(type(n) is int and counts[n] == 1 for n in own.values())
    return {n: own[n] if usable else int(n) for n in own}


def _prompt(row: Mapping[str, Any]) -> str:
    text = _text_of(row["doc"])
    if text:
        return text
    asked = row.get("arguments", {})
    first = asked.get("gen_args_0", {}).get("arg_0", "") if isinstance(asked, dict) else ""
    return str(first)


def _text_of(doc: Mapping[str, Any]) -> str:
    for name in QUESTION_FIELDS:
        if isinstance(doc.get(name), str):
            return str(doc[name])
    return ""
