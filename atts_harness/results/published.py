"""The traces that the published code left, one sample a line (`.jsonl`, `.jsonl.gz`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import read_lines
from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import Sampled
from atts_harness.records import DecisionRecord, SampleId, SampleRecord, SegmentRecord
from atts_harness.results.golds import question_key, readable
from atts_harness.results.values import AskedQuestion, SavedQuestion, SavedTask

PUBLISHED = "published"
PUBLISHED_REGEX = "published_regex"
MOST_REPEATS = 100_000
RATE = 0.4
"""Nominal rate of the published runs: percentile >= 0.6."""
JOIN = "\n\n"
"""The text that the published code puts between two chunks."""


class TraceTurn(msgspec.Struct, kw_only=True):
    """One turn; `target` is what the target wrote if it took over."""

    turn: int
    draft: str
    ppl: float | None = None
    percentile: float | None = None
    target: str | None = None


class PublishedTrace(msgspec.Struct, kw_only=True):
    """One published sample."""

    question_index: int
    repeat: int
    turns: list[TraceTurn]
    question_id: str | int | None = None
    question: str = ""
    gold: str | int | float | None = None
    answer: str | int | float | None = None
    answer_regex: str | int | float | None = None
    duration_s: float | None = None


def is_trace(row: Mapping[str, Any]) -> bool:
    """Whether a file of traces begins with this line."""
    return "turns" in row and "question_id" in row


def read_traces(path: Path | str) -> Iterator[PublishedTrace]:
    """The samples of a trace file.

    Raises:
        SettingError: missing, or not such a file; names the line.
    """
    decoder = msgspec.json.Decoder(PublishedTrace)
    for number, line in read_lines(Path(path), f"{path}: not a published trace"):
        try:
            trace = decoder.decode(line)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise SettingError(f"{path}: line {number}: not a published trace: {error}") from error
        if not 0 <= trace.repeat < MOST_REPEATS:
            raise SettingError(
                f"{path}: line {number}: repeat {trace.repeat} is not below {MOST_REPEATS}"
            )
        yield trace


def trace_text(turns: Iterable[TraceTurn]) -> str:
    """A sample's transcript as the published code joined it: a blank line between all chunks."""
    chunks = [text for turn in turns for text in (turn.draft, turn.target) if text is not None]
    return JOIN.join(chunks)


def record_of(trace: PublishedTrace, task: str, rate: float | None = RATE) -> SampleRecord:
    """A published sample as a record of ours.

    The recorded p-value is 1 - percentile (what `rule=reference` records), the threshold the rate;
    the bank's size and the token counts were not recorded. A perplexity of 0 is what the published
    code wrote for a score that had failed; it accepted such a turn.

    Raises:
        SettingError: a perplexity without a percentile.
    """
    id_ = SampleId(task, trace.question_index, trace.repeat)
    segments: list[SegmentRecord] = []
    for turn in trace.turns:
        for author, kind, text in (
            ("draft", "draft", turn.draft),
            ("target", "takeover", turn.target),
        ):
            if text is None:
                continue
            if segments:
                segments.append(_segment("strategy", "inserted", JOIN, turn.turn))
            segments.append(_segment(author, kind, text, turn.turn))
    answers = {PUBLISHED: _answer(trace.answer)}
    if trace.answer_regex is not None:
        answers[PUBLISHED_REGEX] = _answer(trace.answer_regex)
    return SampleRecord(
        id=id_,
        strategy="atts",
        text="".join(segment.text for segment in segments),
        finish="strategy",
        segments=segments,
        decisions=[_decision(id_, turn, rate) for turn in trace.turns if turn.ppl is not None],
        turns=len(trace.turns),
        ended=trace.duration_s or 0.0,
        answers=answers,
    )


def _segment(author: str, kind: str, text: str, turn: int) -> SegmentRecord:
    return SegmentRecord(author=author, text=text, tokens=0, turn=turn, kind=kind, ending="length")


def _decision(sample: SampleId, turn: TraceTurn, rate: float | None) -> DecisionRecord:
    if turn.ppl is None or turn.percentile is None or not turn.ppl >= 0:
        raise SettingError(f"sample {sample} turn {turn.turn}: a perplexity without a percentile")
    failed = turn.ppl == 0
    return DecisionRecord(
        sample=sample,
        turn=turn.turn,
        takeover=turn.target is not None,
        reason="score-failed" if failed else "p-value",
        nonconformity=None if failed else math.log(turn.ppl),
        p_value=None if failed else 1.0 - turn.percentile,
        threshold=rate,
        bank="marginal",
    )


def saved_task(path: Path) -> SavedTask:
    """The questions of a trace file."""
    return SavedTask(path.name.partition(".")[0], lambda: _questions(path))


def _questions(path: Path) -> Iterator[SavedQuestion]:
    questions: dict[str, AskedQuestion] = {}
    samples: dict[str, dict[int, Sampled]] = {}
    for trace in read_traces(path):
        id_ = str(trace.question_index if trace.question_id is None else trace.question_id)
        if not readable(trace.gold):
            raise SettingError(f"{path}: question {id_}: the gold {trace.gold!r} is not an answer")
        gold = str(trace.gold)
        entry = questions.setdefault(
            id_,
            AskedQuestion(
                len(questions),
                question_key({"question": trace.question}, gold),
                trace.question,
                gold,
                (Gold(gold),),
                id_,
            ),
        )
        if entry.gold != gold:
            raise SettingError(f"{path}: question {id_} has two golds: {entry.gold!r}, {gold!r}")
        by_repeat = samples.setdefault(id_, {})
        if trace.repeat in by_repeat:
            raise SettingError(f"{path}: question {id_}, repeat {trace.repeat} is there twice")
        recorded = {
            PUBLISHED: _answer(trace.answer),
            PUBLISHED_REGEX: _answer(trace.answer_regex),
        }
        by_repeat[trace.repeat] = Sampled(trace_text(trace.turns), recorded)
    for id_, question in questions.items():
        original = {r: s.answers[PUBLISHED] for r, s in samples[id_].items()}
        yield SavedQuestion(question, samples[id_], original=original)


def _answer(answer: str | int | float | None) -> str | None:
    return None if answer in (None, "invalid") else str(answer)
