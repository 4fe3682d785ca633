"""Reads result folders of the published ATTS code: `problem_0000.json`, one file a sample.

A file holds `problem_index` (the sample's number, question by question), `question`,
`final_answer`, `duration_seconds` and `full_history`. The folders exist in two eras: since answers
were extracted again, `final_answer` is a model's, and `final_answer_regex` and `final_answer_llm`
stand beside it. Items of the history say their turn and who wrote: `small`, `eval_ppl` with `ppl`
and `percentile`, `eval_generate`; in runs of one model `draft`, `self_ppl`, `self_continue`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file
from atts_harness.grading.extraction import boxed
from atts_harness.records import SampleRecord
from atts_harness.results.foreign import ForeignQuestion, ForeignRun, PublishedFormat
from atts_harness.results.published import RATE, PublishedTrace, TraceTurn, record_of

_FILE = re.compile(r"problem_([0-9]{1,9})\.json")
_SETTINGS = re.compile(
    r"_sm(?P<draft>[0-9]+)_em(?P<target>[0-9]+)_t(?P<turns>[0-9]+)_smt(?P<heat>[0-9.]+)"
)
"""The published names of folders: TARGET_sm500_em500_t15_smt0.8_..., _ct1 with a template."""
DRAFTS = ("small", "draft")
SCORES = ("eval_ppl", "self_ppl")
TAKEOVERS = ("eval_generate", "self_continue")
LEAST_PPL = 1 - 1e-3
"""Least perplexity; 1 is a certain text, and half precision may come out a little below."""
SELF = ("draft", "self_ppl", "self_continue")

Answer = str | int | float | None


class _Item(msgspec.Struct):
    turn: int = -1
    model: str = ""
    output: str | None = None
    ppl: float | None = None
    percentile: float | None = None
    attempt: int | None = None
    event: str | None = None


class _File(msgspec.Struct):
    full_history: list[_Item]
    question: str | list[Any]
    problem_index: int | None = None
    final_answer: Answer = None
    final_answer_regex: Answer = None
    final_answer_llm: Answer = None
    duration_seconds: float | None = None


def recognises(folder: Path) -> bool:
    """Whether there are files of this shape."""
    return any(_FILE.fullmatch(path.name) for path in islice(folder.glob("problem_*.json"), 100))


def read(folder: Path, task: str) -> ForeignRun:
    """The run in a folder.

    Raises:
        SettingError: a damaged file, or a run that throws drafts away (`reject`, `fork`), which is
            another strategy, and its decisions are not takeovers.
    """
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("problem_*.json")):
        named = _FILE.fullmatch(path.name)
        if named is not None and files.setdefault(int(named[1]), path) != path:
            raise SettingError(f"{files[int(named[1])]}, {path.name}: two files of one number")
    traces: dict[int, PublishedTrace] = {}
    alone = False
    for number, path in sorted(files.items()):
        loaded: _File = decode(read_file(path), _File, f"{path}: not a sample of published ATTS")
        alone = alone or any(item.model in SELF for item in loaded.full_history)
        traces[number] = _trace(loaded, path)
    rate, note = _rate(traces.values())
    options = _options(folder.name, rate)
    questions = list(_questions(traces, task, rate, options.get("turns")))
    notes = [note] if note else []
    lacking = sum(question.repeats - len(question.samples) for question in questions)
    if lacking:
        notes.append(f"{lacking} samples of its questions are not there; they stay missing")
    lost = max(files, default=-1) + 1 - len(files) - lacking
    if lost > 0:
        notes.append(
            f"{lost} more numbers up to {max(files)} have no file, and no other file of their "
            "question is there: these questions are left out"
        )
    return ForeignRun(
        "self" if alone else "atts",
        options,
        questions,
        tuple(notes),
    )


def _options(name: str, rate: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {"rule": "reference", "on_reject": "continue", "rate": rate}
    named = _SETTINGS.search(name)
    if named is not None:
        options |= {
            "draft_tokens": int(named["draft"]),
            "target_tokens": int(named["target"]),
            "turns": int(named["turns"]),
        }
    return options


def _trace(loaded: _File, path: Path) -> PublishedTrace:
    turns: dict[int, TraceTurn] = {}
    for item in loaded.full_history:
        if item.event is not None or item.attempt is not None:
            raise SettingError(
                f"{path}: a run that throws drafts away (reject, fork); only runs with takeovers "
                "can be imported"
            )
        if item.model in DRAFTS:
            if item.turn in turns:
                raise SettingError(f"{path}: turn {item.turn} has two drafts")
            turns[item.turn] = TraceTurn(turn=item.turn, draft=item.output or "")
            continue
        turn = turns.get(item.turn)
        if turn is None:
            raise SettingError(f"{path}: turn {item.turn} has no draft before its {item.model!r}")
        if item.model in SCORES:
            if turn.ppl is not None:
                raise SettingError(f"{path}: turn {item.turn} has two scores")
            turn.ppl, turn.percentile = _score(item, path)
        elif item.model in TAKEOVERS:
            if turn.target is not None:
                raise SettingError(f"{path}: turn {item.turn} has two takeovers")
            turn.target = item.output or ""
        else:
            raise SettingError(f"{path}: an item of an unknown kind: model {item.model[:40]!r}")
    if sorted(turns) != list(range(len(turns))):
        raise SettingError(f"{path}: its turns are {sorted(turns)}, not counted from 0")
    if loaded.duration_seconds is not None and loaded.duration_seconds < 0:
        raise SettingError(f"{path}: duration_seconds is {loaded.duration_seconds:g}")
    again = loaded.final_answer_regex is not None or loaded.final_answer_llm is not None
    return PublishedTrace(
        question_index=0,
        repeat=0,
        turns=[turns[number] for number in sorted(turns)],
        question=_text(loaded.question),
        answer=loaded.final_answer_llm
        if loaded.final_answer_llm is not None
        else loaded.final_answer,
        answer_regex=loaded.final_answer_regex if again else None,
        duration_s=loaded.duration_seconds,
    )


def _score(item: _Item, path: Path) -> tuple[float | None, float | None]:
    """Perplexity and percentile of a turn; a perplexity of 0 is a score that failed."""
    ppl, percentile = item.ppl, item.percentile
    if ppl is not None and not (ppl == 0 or ppl >= LEAST_PPL):
        raise SettingError(f"{path}: turn {item.turn} has a perplexity of {ppl:g}")
    if ppl is not None and percentile is None:
        raise SettingError(f"{path}: turn {item.turn} has a perplexity without a percentile")
    if percentile is not None and not 0 <= percentile <= 1:
        raise SettingError(f"{path}: turn {item.turn} has a percentile of {percentile:g}")
    return ppl, percentile


def _text(question: str | Sequence[Any]) -> str:
    """The question's text; a multiple-choice question is a list: itself and its four answers."""
    return question if isinstance(question, str) else "\n".join(map(str, question))


def _questions(
    traces: dict[int, PublishedTrace], task: str, rate: float | None, most_turns: int | None
) -> Iterator[ForeignQuestion]:
    """Samples by question, in the order of their numbers.

    The published numbers go question by question, each with as many samples. If so, a
    missing file leaves its repeat free; else repeats are counted in the order of numbers.
    """
    groups: dict[str, list[int]] = {}
    for number, trace in traces.items():
        groups.setdefault(trace.question, []).append(number)
    size, regular = _layout(list(groups.values()))
    for doc, (text, numbers) in enumerate(groups.items()):
        samples = {}
        for place, number in enumerate(numbers):
            repeat = number % size if regular else place
            trace = msgspec.structs.replace(traces[number], question_index=doc, repeat=repeat)
            samples[repeat] = _ended(record_of(trace, task, rate), most_turns)
        yield ForeignQuestion(text, None, samples, size)


def _layout(groups: list[list[int]]) -> tuple[int, bool]:
    """Samples of a question, and whether numbers go question by question with so many each.

    If every question lacks a file, the size is the least that gives each question its place in
    a row without gaps.
    """
    most = max(map(len, groups), default=0)
    for size in range(most, 2 * most + 1):
        blocks = [{number // size for number in numbers} for numbers in groups]
        places = sorted(set[int]().union(*blocks)) if blocks else []
        regular = all(len(block) == 1 for block in blocks) and len(places) == len(groups)
        whole = size == most and any(len(numbers) == most > 1 for numbers in groups)
        if regular and (whole or places == list(range(len(places)))):
            return size, True
    blocks = [{number // most for number in numbers} for numbers in groups]
    alone = all(len(block) == 1 for block in blocks)
    return most, alone and len(set[int]().union(*blocks)) == len(groups)


def _ended(record: SampleRecord, most_turns: int | None) -> SampleRecord:
    """The sample, marked as truncated where its turns ran out before an answer."""
    if most_turns is None or record.turns < most_turns or boxed(record.text, "maths") is not None:
        return record
    return msgspec.structs.replace(record, finish="turns", truncated=True)


def _rate(traces: Iterable[PublishedTrace]) -> tuple[float | None, str]:
    """The rate that the decisions follow, and a note if it had to be inferred."""
    highest_kept, lowest_taken_over = -1.0, 1.0
    for trace in traces:
        for turn in trace.turns:
            if turn.percentile is None or turn.ppl == 0:
                continue
            if turn.target is None:
                highest_kept = max(highest_kept, turn.percentile)
            else:
                lowest_taken_over = min(lowest_taken_over, turn.percentile)
    if highest_kept < 1.0 - RATE <= lowest_taken_over:
        return RATE, ""
    if highest_kept < lowest_taken_over:
        rate = round(1.0 - lowest_taken_over, 4)
        interval = f"({highest_kept:.4f}, {lowest_taken_over:.4f}]"
        if highest_kept < 0:
            interval = f"[0, {lowest_taken_over:.4f}]"
        return rate, f"its decisions are of a threshold in {interval}: rate {rate:g}"
    return None, (
        f"no threshold gives its decisions: a turn at {highest_kept:.4f} was kept and one at "
        f"{lowest_taken_over:.4f} was taken over; the nominal rate is left out"
    )


FORMAT = PublishedFormat(
    name="atts",
    shape="problem_0000.json and so on, as the published ATTS code writes them",
    recognises=recognises,
    read=read,
)
