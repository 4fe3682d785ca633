"""Rows of the benchmarks, from the Hub or from local files, as documents of one shape.

`ATTS_DATA_DIR` points at a folder with one sub folder a set and JSON Lines under the Hub's field
names (`math500/test.jsonl`, ...); without it rows come from the Hub. A document says everything
that prompting and grading need, so a log of it can be graded again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError
from atts_harness.files import decode, read_lines
from atts_tasks.gpqa import ZIP_VARIABLE, rows_from_zip

DATA_VARIABLE = "ATTS_DATA_DIR"
LETTERS = "ABCD"

Row = Mapping[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """Where a set's rows are and how one becomes a document.

    Attributes:
        hub: data set id on the Hub.
        config: its configuration, or None.
        split: its split.
        file: path below `ATTS_DATA_DIR`.
        columns: columns that must be there.
        document: from a row to id, question, gold and what else grading needs.
        gate: what must be done once before the Hub hands the rows out, or None.
    """

    hub: str
    config: str | None
    split: str
    file: str
    columns: tuple[str, ...]
    document: Callable[[Row], Document]
    gate: str | None = None


def maths(
    id_: object,
    question: str,
    gold: object,
    *,
    several: bool = False,
    tolerance: float | None = None,
    unit: str | None = None,
) -> Document:
    """A document that asks for an expression."""
    return {
        "id": str(id_),
        "question": question,
        "gold": str(gold),
        "kind": "maths",
        "several": several,
        "tolerance": tolerance,
        "unit": unit,
        "choices": [],
    }


def choice(id_: str, question: str, right: str, wrong: Iterable[str]) -> Document:
    """A document that asks for a letter.

    The options are in an order that depends on the question's id and on each option's own place
    in the row, on nothing else: the same in every run, and no place is likelier to be right.
    """
    options = [right, *wrong]

    def rank(place: int) -> bytes:
        return hashlib.blake2b(f"{id_}/{place}".encode()).digest()

    order = sorted(range(len(options)), key=rank)
    document = maths(id_, question, LETTERS[order.index(0)])
    return {**document, "kind": "choice", "choices": [str(options[i]).strip() for i in order]}


def _olympiad(row: Row) -> Document:
    context, question = row["context"], row["question"]
    answers = row["final_answer"]
    return maths(
        row["id"],
        f"{context}\n\n{question}" if context else question,
        answers[0] if len(answers) == 1 else ", ".join(answers),
        several=bool(row["is_multiple_answer"]) or len(answers) > 1,
        tolerance=float(row["error"]) if row["error"] else None,
        unit=row["unit"],
    )


def _gpqa(row: Row) -> Document:
    wrong = [row[f"Incorrect Answer {n}"] for n in (1, 2, 3)]
    id_ = row.get("Record ID") or hashlib.blake2b(row["Question"].encode()).hexdigest()[:16]
    return choice(str(id_), row["Question"].strip(), row["Correct Answer"], wrong)


def _whole(answer: Any) -> Any:
    """AI-MO's AMC answers are floats: 27.0 is written 27."""
    return int(answer) if isinstance(answer, float) and answer.is_integer() else answer


_GPQA_COLUMNS = ("Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))

BENCHMARKS: dict[str, Benchmark] = {
    "math500": Benchmark(
        "HuggingFaceH4/MATH-500", None, "test", "math500/test.jsonl",
        ("problem", "answer", "unique_id"),
        lambda row: maths(row["unique_id"], row["problem"], row["answer"]),
    ),
    "aime24": Benchmark(
        "HuggingFaceH4/aime_2024", None, "train", "aime24/train.jsonl",
        ("id", "problem", "answer"),
        lambda row: maths(row["id"], row["problem"], row["answer"]),
    ),
    "aime25": Benchmark(
        "math-ai/aime25", None, "test", "aime25/test.jsonl",
        ("id", "problem", "answer"),
        lambda row: maths(row["id"], row["problem"], row["answer"]),
    ),
    "amc23": Benchmark(
        "math-ai/amc23", None, "test", "amc23/test.jsonl",
        ("id", "question", "answer"),
        lambda row: maths(row["id"], row["question"], _whole(row["answer"])),
    ),
    "aimo_amc": Benchmark(
        "AI-MO/aimo-validation-amc", None, "train", "aimo_amc/train.jsonl",
        ("id", "problem", "answer"),
        lambda row: maths(row["id"], row["problem"], _whole(row["answer"])),
    ),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train", "olympiadbench/train.jsonl",
        ("id", "context", "question", "final_answer", "is_multiple_answer", "unit", "error"),
        _olympiad,
    ),
    "gsm8k": Benchmark(
        "openai/gsm8k", "main", "test", "gsm8k/test.jsonl",
        ("question", "answer"),
        lambda row: maths(
            hashlib.blake2b(row["question"].encode()).hexdigest()[:16],
            row["question"],
            row["answer"].rpartition("####")[2].strip(),
        ),
    ),
    "gpqa_diamond": Benchmark(
        "Idavidrein/gpqa", "gpqa_diamond", "train", "gpqa_diamond/train.jsonl",
        _GPQA_COLUMNS,
        _gpqa,
        gate=(
            "accept the conditions on https://huggingface.co/datasets/Idavidrein/gpqa, then set "
            f"HF_TOKEN; or set {ZIP_VARIABLE} to the authors' dataset.zip"
        ),
    ),
}  # fmt: skip


def _numeric(row: Row) -> bool:
    return row.get("answer_type") == "Numerical" and not row["is_multiple_answer"]


SUBSETS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "seed42_100": lambda rows: [rows[i] for i in random.Random(42).sample(range(len(rows)), 100)],
    "first_15": lambda rows: rows[:15],
    "first_50": lambda rows: rows[:50],
    "first_60": lambda rows: rows[:60],
    "first_50_numeric": lambda rows: [row for row in rows if _numeric(row)][:50],
}
"""The published subsets, by what they are; they are taken from the rows in the Hub's order."""


def load(benchmark: str, subset: str | None = None, **_: Any) -> dict[str, Any]:
    """The documents of a benchmark, as lm-eval's `custom_dataset` wants them.

    Args:
        benchmark: a key of `BENCHMARKS`.
        subset: a key of `SUBSETS`, or None for all rows.
        **_: lm-eval hands over all metadata, the model's arguments included.

    Returns:
        The split `test`.

    Raises:
        SettingError: no data: names the variable, the Hub id and the licence step; or a column
            that is not there.
    """
    from datasets import Dataset

    source = BENCHMARKS[benchmark]
    rows, place = _rows(benchmark, source)
    if not rows:
        raise SettingError(f"{place}: no rows")
    missing = [name for name in source.columns if name not in rows[0]]
    if missing:
        raise SettingError(
            f"{place}: column {missing[0]!r} is not there (columns: {', '.join(rows[0])}); "
            f"rows need {', '.join(source.columns)}"
        )
    selected = rows if subset is None else SUBSETS[subset](rows)
    documents = []
    for number, row in enumerate(selected):
        try:
            documents.append(source.document(row))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise SettingError(f"{place}: row {number} cannot be read: {error!r}") from error
    return {"test": Dataset.from_list(documents)}


def _rows(name: str, source: Benchmark) -> tuple[list[Row], str]:
    """Rows, and where they came from for messages."""
    if name == "gpqa_diamond" and (archive := os.environ.get(ZIP_VARIABLE)):
        return rows_from_zip(Path(archive)), f"{ZIP_VARIABLE}={archive}"
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        return _local_rows(Path(folder) / source.file, source), str(Path(folder) / source.file)
    return _hub_rows(source), f"{source.hub} ({source.split})"


def _local_rows(path: Path, source: Benchmark) -> list[Row]:
    if not path.is_file():
        gate = f"; for the Hub {source.gate}" if source.gate else ""
        raise SettingError(
            f"{DATA_VARIABLE}: {path} is not there; put the rows of {source.hub} (split "
            f"{source.split}) into it as JSON Lines, or unset {DATA_VARIABLE} to load from the "
            f"Hub{gate}"
        )
    rows: list[Row] = []
    for number, line in read_lines(path):
        row: Any = decode(line, Any, f"{path}: line {number} is not JSON")
        if not isinstance(row, dict):
            raise SettingError(f"{path}: line {number} is not an object")
        rows.append(row)
    return rows


@functools.cache
def _hub_rows(source: Benchmark) -> list[Row]:
    """Rows from the Hub, or from its local cache; asked for once a process."""
    import datasets

    try:
        return list(datasets.load_dataset(source.hub, source.config, split=source.split))
    except Exception as error:  # the Hub's client has no one tree of exceptions
        reason = (str(error).strip().splitlines() or [""])[0]
        remedy = source.gate or "check the network, or HF_TOKEN if the set needs one"
        raise SettingError(
            f"cannot load {source.hub} (split {source.split}) from the Hub: {remedy}; or set "
            f"{DATA_VARIABLE} to a folder with {source.file} ({type(error).__name__}: {reason})"
        ) from error
