"""lm-eval's sample logs (`samples_TASK_DATE.jsonl`, from `--log_samples`), from release 0.4.9.

A log has one line for each document and filter; all lines of a document hold the same texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import read_lines
from atts_harness.grading.grade import Grade, Sampled
from atts_harness.results import plain_json
from atts_harness.results.runs import question_of
from atts_harness.results.values import AskedQuestion, SavedQuestion, SavedTask

NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.jsonl$")
ENOUGH = 3
"""Questions from which on one and the same target means that the task has none."""


class _Line(msgspec.Struct):
    doc_id: int
    resps: list[list[Any]]
    doc: Any = None
    target: Any = None
    filter: str = "none"
    arguments: Any = None
    graded: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class _Contents:
    """What a first reading finds: which lines to take, and how documents are numbered."""

    filter: str
    numbers: Mapping[int, int]
    golds: bool


def is_log(row: Mapping[str, Any]) -> bool:
    """Whether a sample log begins with this line."""
    return "resps" in row and "doc" in row


def newest(folder: Path) -> list[Path]:
    """Sample logs at or below a folder: the newest one of each task and folder.

    Raises:
        SettingError: an older log holds more documents than the newest, so it is another run.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for log in sorted(folder.rglob("samples_*.jsonl")):
        groups.setdefault((log.parent, task_of(log)), []).append(log)
    for (_, task), logs in groups.items():
        sizes = [_documents(log) for log in logs] if len(logs) > 1 else [1]
        if sizes[-1] < max(sizes):
            larger = logs[sizes.index(max(sizes))]
            raise SettingError(
                f"{folder}: two runs of task {task}: {logs[-1].name} has {sizes[-1]} documents, "
                f"the older {larger.name} has {max(sizes)}; give one of the logs"
            )
    return [logs[-1] for logs in groups.values()]


def _documents(path: Path) -> int:
    return len({row.get("doc_id") for _, row in _rows(path) if type(row.get("doc_id")) is int})


def task_of(path: Path) -> str:
    """The task that a log's name tells."""
    named = NAME.fullmatch(path.name)
    if named is not None:
        return named["task"]
    stem = path.stem.removeprefix("samples_")
    return stem.rpartition("_")[0] or stem


def saved(path: Path, metric: str | None = None, no_target: bool = False) -> SavedTask:
    """The saved samples of a log.

    Args:
        path: the log.
        metric: "metric,filter": the lines of this filter are taken; None: the first filter's.
        no_target: the task is known to have no target.
    """
    return SavedTask(task_of(path), lambda: _questions(path, metric, no_target))


def _questions(path: Path, metric: str | None, no_target: bool) -> Iterator[SavedQuestion]:
    contents = _contents(path, metric, no_target)
    for number, row in _rows(path):
        line = _line(row, path, number)
        if line.filter == contents.filter:
            yield _question(path, number, line, row, contents)


def _contents(path: Path, metric: str | None, no_target: bool) -> _Contents:
    """Read a log once for what holds of all of it; nothing of a sample is kept.

    Raises:
        SettingError: there is nothing in it, or lines are missing or double.
    """
    by_filter: dict[str, Counter[int]] = {}
    doc_ids: dict[int, Any] = {}
    targets: set[str] = set()
    ours = False
    for number, row in _rows(path):
        line = _line(row, path, number)
        doc = _doc(line)
        by_filter.setdefault(line.filter, Counter())[line.doc_id] += 1
        doc_ids[line.doc_id] = doc.get("doc_id")
        ours = ours or line.graded is not None or "gold" in doc
        targets.add(repr(doc.get("answer") if line.target is None else line.target))
    if not by_filter:
        raise SettingError(f"{path}: holds no samples")
    metric_filter = metric.partition(",")[2] if metric else ""
    filter_ = metric_filter if metric_filter in by_filter else next(iter(by_filter))
    documents = by_filter[filter_]
    double = [doc for doc, count in documents.items() if count > 1]
    if double:
        raise SettingError(
            f"{path}: document {double[0]} is there twice; two logs were put together: give one"
        )
    for name, other in by_filter.items():
        if other.keys() != documents.keys():
            raise SettingError(
                f"{path}: {len(documents)} documents under filter {filter_} and {len(other)} under "
                f"{name}: the log was cut"
            )
    constant = len(documents) >= ENOUGH and len(targets) == 1
    return _Contents(filter_, _numbers(doc_ids), golds=ours or not (no_target or constant))


def _question(
    path: Path, number: int, line: _Line, row: Mapping[str, Any], contents: _Contents
) -> SavedQuestion:
    doc = _doc(line)
    texts = [text for request in line.resps for text in request]
    if not all(isinstance(text, str) for text in texts):
        raise SettingError(f"{path}: its answers are not texts; only generation can be reported")
    doc_id = contents.numbers[line.doc_id]
    graded = line.graded
    if graded is not None and len(graded) != len(texts):
        raise SettingError(
            f"{path}: document {doc_id} has {len(texts)} answers and {len(graded)} grades"
        )
    try:
        document = doc if contents.golds else _without_answer(doc)
        question = question_of(document, doc_id, line.target if contents.golds else None)
        grades = {r: msgspec.convert(g, Grade) for r, g in enumerate(graded or ()) if "right" in g}
        samples = {
            repeat: _sampled(text, graded[repeat] if graded is not None else {})
            for repeat, text in enumerate(texts)
        }
    except (SettingError, msgspec.ValidationError) as error:
        raise SettingError(f"{path}: line {number}: {error}") from error
    return SavedQuestion(
        question if question.prompt else _asked(question, line),
        samples,
        grades,
        figures={name: plain_json.number(value) for name, value in row.items()},
        original={r: g["answer"] for r, g in enumerate(graded or ()) if "answer" in g},
    )


def _sampled(text: str, graded: Mapping[str, Any]) -> Sampled:
    return msgspec.convert(
        {
            "text": text,
            "answers": graded.get("answers") or {},
            "truncated": graded.get("truncated"),
            "failed": graded.get("failed"),
            "weight": graded.get("weight"),
            "absent": graded.get("absent") or "",
        },
        Sampled,
    )


def _doc(line: _Line) -> Mapping[str, Any]:
    return line.doc if isinstance(line.doc, dict) else {"document": line.doc}


def _without_answer(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in doc.items() if name != "answer"}


def _line(row: Mapping[str, Any], path: Path, number: int) -> _Line:
    if not {"doc_id", "doc", "resps"} <= row.keys():
        raise SettingError(f"{path}: line {number} is not a sample of lm-eval's logs")
    try:
        return msgspec.convert(row, _Line)
    except msgspec.ValidationError as error:
        raise SettingError(
            f"{path}: line {number} is not a sample of lm-eval's logs: {error}"
        ) from error


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in read_lines(path):
        row = plain_json.decode(line, f"{path}: line {number}")
        if not isinstance(row, dict):
            raise SettingError(f"{path}: line {number} is not a sample of lm-eval's logs")
        yield number, row


def _numbers(doc_ids: Mapping[int, Any]) -> dict[int, int]:
    """By lm-eval's number of a document the number that names it in records (see planning)."""
    counts = Counter(map(repr, doc_ids.values()))
    usable = all(type(n) is int and counts[repr(n)] == 1 for n in doc_ids.values())
    return {doc: n if usable else doc for doc, n in doc_ids.items()}


def _asked(question: AskedQuestion, line: _Line) -> AskedQuestion:
    """The question with the prompt that the model got, for documents without a text to show."""
    arguments: Sequence[Any] | Mapping[str, Any] = line.arguments or {}
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    prompt = first.get("arg_0", "") if isinstance(first, Mapping) else ""
    return AskedQuestion(
        question.doc, question.key, str(prompt), question.gold, question.golds, question.id
    )
