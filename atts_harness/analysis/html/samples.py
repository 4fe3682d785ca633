"""The page's samples: an index that it shows at once, and texts in compressed blocks.

A block is the JSON of all samples of one row and problem, deflated and in base64; the page inflates
it when one of them is opened. So 2,000 samples of 10 kB are a few megabytes, which the page parses
as one string a block.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Set
from itertools import groupby
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.grading.grade import Grade
from atts_harness.records import DecisionRecord, SampleId, SampleRecord, SegmentRecord

LONGEST_ANSWER = 80
"""Most characters of an answer in the index; the sample's details have all of it."""

FIELDS = (
    "row",
    "doc",
    "repeat",
    "verdict",
    "finish",
    "turns",
    "takeovers",
    "tokens",
    "seconds",
    "answer",
    "gold",
    "disagree",
    "block",
    "place",
)
"""The fields of a line of the index."""


class Browser(msgspec.Struct, kw_only=True):
    """What the page's browser of samples holds.

    Attributes:
        lines: a list of `FIELDS` for each sample.
        blocks: compressed texts.
        count: samples in it.
        left_out: by row id how many samples are not in it, and where they are.
    """

    lines: list[list[Any]] = []
    blocks: list[str] = []
    count: int = 0
    left_out: dict[str, tuple[int, str]] = {}


def kept_documents(rows: Mapping[str, RowSamples], most: int) -> dict[str, set[int]]:
    """The problems of each row that the page holds: the first ones, the same in all rows of a task.

    Args:
        rows: by row.
        most: samples in all.
    """
    sizes: dict[tuple[str, int], int] = {}
    for samples in rows.values():
        for sample in samples.grades:
            key = (samples.task, sample.doc)
            sizes[key] = sizes.get(key, 0) + 1
    # Problem by problem, in turn from all tasks, so that every task has some.
    docs: dict[str, set[int]] = {samples.task: set() for samples in rows.values()}
    room = most
    for task, doc in sorted(sizes, key=lambda key: (key[1], key[0])):
        room -= sizes[task, doc]
        if room < 0:
            break
        docs[task].add(doc)
    return {row: docs[samples.task] for row, samples in rows.items()}


def add_row(
    browser: Browser, row: str, samples: RowSamples, docs: Set[int], *, with_run: bool = True
) -> None:
    """Put a row's samples in. The texts of one problem are held at a time.

    Args:
        browser: grows.
        row: its id.
        samples: the row's.
        docs: the problems to put in; samples of others are counted as left out.
        with_run: take turns and decisions from the run directory, if there is one.
    """
    by_doc: dict[int, list[SampleId]] = {}
    out = 0
    for sample in samples.grades:
        if sample.doc in docs:
            by_doc.setdefault(sample.doc, []).append(sample)
        else:
            out += 1
    with_run = with_run and samples.run_dir is not None
    texts = {} if with_run else samples.texts(docs)
    run_records = samples.records() if with_run else iter(())
    groups = groupby(run_records, lambda record: record.id.doc)
    doc, records = next(groups, (None, iter(())))
    for number, ids in sorted(by_doc.items()):
        while doc is not None and doc < number:
            doc, records = next(groups, (None, iter(())))
        by_id = {record.id: record for record in records} if doc == number else {}
        block: list[dict[str, Any]] = []
        for sample in ids:
            record, grade = by_id.get(sample), samples.grades[sample]
            browser.lines.append(
                _line(row, samples, sample, grade, record, len(browser.blocks), len(block))
            )
            block.append(_details(samples, sample, grade, record, texts.get(sample, "")))
        browser.blocks.append(pack(block))
        browser.count += len(block)
    if out:
        place = str(samples.run_dir) if samples.run_dir else "lm-eval's sample log of the row"
        browser.left_out[row] = (out, place)


def pack(value: Any) -> str:
    """JSON, deflated (RFC 1951, as `DecompressionStream("deflate-raw")` takes it), in base64."""
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = squeezer.compress(msgspec.json.encode(value)) + squeezer.flush()
    return base64.b64encode(data).decode("ascii")


def verdict(grade: Grade) -> str:
    """How a sample was graded, in a word."""
    if grade.failed:
        return "failed"
    if grade.error:
        return "not graded"
    if grade.answer is None:
        return "no answer"
    return "right" if grade.right else "wrong"


def _line(
    row: str,
    samples: RowSamples,
    sample: SampleId,
    grade: Grade,
    record: SampleRecord | None,
    block: int,
    place: int,
) -> list[Any]:
    values: dict[str, Any] = {
        "row": row,
        "doc": sample.doc,
        "repeat": sample.repeat,
        "verdict": verdict(grade),
        "answer": None if grade.answer is None else grade.answer[:LONGEST_ANSWER],
        "gold": samples.questions[sample.doc].gold[:LONGEST_ANSWER],
        "disagree": any(answer != grade.answer for answer in grade.answers.values()),
        "block": block,
        "place": place,
    }
    if record is not None:
        values |= {
            "finish": record.finish,
            "turns": record.turns,
            "takeovers": sum(decision.takeover for decision in record.decisions),
            "tokens": sum(record.kept_tokens.values()),
            "seconds": round(record.ended - record.started, 3),
        }
    return [values.get(field) for field in FIELDS]


def _details(
    samples: RowSamples, sample: SampleId, grade: Grade, record: SampleRecord | None, text: str
) -> dict[str, Any]:
    question = samples.questions[sample.doc]
    details: dict[str, Any] = {
        "problem": question.prompt,
        "gold": question.gold,
        "answer": grade.answer,
        "answers": grade.answers,
        "verdict": verdict(grade),
        "error": grade.error or grade.failed or None,
    }
    if record is None:
        return details | {"text": text}
    decided = {decision.turn: decision for decision in record.decisions}
    turns: dict[int, list[SegmentRecord]] = {turn: [] for turn in decided}
    for segment in record.segments:
        turns.setdefault(segment.turn, []).append(segment)
    return details | {
        "finish": record.finish,
        "truncated": record.truncated,
        "failed": record.failed,
        "notes": {name: str(value) for name, value in record.notes.items()},
        "turns": [
            {
                "turn": turn,
                "segments": [_segment(s) for s in segments],
                **_decision(decided.get(turn)),
            }
            for turn, segments in sorted(turns.items())
        ],
    }


def _segment(segment: SegmentRecord) -> dict[str, Any]:
    return {
        "author": segment.author,
        "kind": segment.kind,
        "text": segment.text,
        "tokens": segment.tokens,
        "kept": segment.kept,
    }


def _decision(decision: DecisionRecord | None) -> dict[str, Any]:
    if decision is None:
        return {}
    return {
        "decision": {
            "takeover": decision.takeover,
            "reason": decision.reason,
            "score": decision.nonconformity,
            "p": decision.p_value,
            "threshold": decision.threshold,
            "bank": decision.bank_size,
        }
    }
