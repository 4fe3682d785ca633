"""The ledger of a run directory, and its calls and samples as flat rows for export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import RunDirError
from atts_harness.journal.reader import RecordedRun
from atts_harness.lanes import lanes_of
from atts_harness.ledger.prices import prices_of
from atts_harness.ledger.sums import Ledger, waiting_ratio
from atts_harness.records import CallRecord, CallTotals, SampleId, SampleRecord, SegmentRecord
from atts_harness.settings import RunOptions


def ledger_of(run: RecordedRun) -> Ledger:
    """What a run cost so far.

    Raises:
        RunDirError: the run directory cannot be read, or a record in it is damaged.
    """
    fields = set(RunOptions.__struct_fields__)
    settings = {k: v for k, v in run.record.settings.items() if k in fields}
    options = msgspec.convert(settings, RunOptions)
    ledger = Ledger(lanes_of(options), prices_of(options))
    for call in run.call_figures():
        ledger.add_call(call)
    for sample in run.samples():
        ledger.add_sample(sample)
    for at, engine, figures in run.metrics():
        ledger.add_figures(at, engine, figures)
    return ledger


def call_rows(run: RecordedRun) -> Iterator[dict[str, Any]]:
    """One flat row a call, with how many of its tokens were kept."""
    current: SampleId | None = None
    kept: dict[tuple[str, str, int, int], int] = {}
    discarded: dict[tuple[str, str, int, int], int] = {}
    for call in run.calls_by_sample():
        if call.key.sample != current:
            current = call.key.sample
            record = run.sample(current)
            segments = [] if record is None else record.segments
            kept = _tokens(s for s in segments if s.kept)
            discarded = _tokens(s for s in segments if not s.kept)
        place = (call.key.role, call.key.kind, call.key.turn, call.key.attempt)
        yield call_row(call, kept.get(place, 0), discarded.get(place, 0))


def sample_rows(run: RecordedRun) -> Iterator[dict[str, Any]]:
    """One flat row a sample: how it ended, its sums and its waiting."""
    for record in run.samples():
        yield sample_row(record)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON lines; returns how many.

    Raises:
        RunDirError: the file cannot be written.
    """
    count = 0
    try:
        with path.open("wb") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")
                count += 1
    except OSError as error:
        raise RunDirError(f"{path}: cannot be written: {error.strerror}") from error
    return count


def call_row(call: CallRecord, kept: int, discarded: int) -> dict[str, Any]:
    """A call as one flat row.

    Args:
        call: the call.
        kept: of its tokens, those that became part of the sample.
        discarded: of its tokens, those that the strategy threw away.
    """
    key, usage = call.key, call.usage
    return {
        "task": key.sample.task,
        "doc": key.sample.doc,
        "repeat": key.sample.repeat,
        "role": key.role,
        "kind": key.kind,
        "turn": key.turn,
        "attempt": key.attempt,
        "request_hash": call.request_hash,
        "error": call.error,
        "retries": call.retries,
        "faults": [msgspec.to_builtins(fault) for fault in call.faults],
        "prompt_tokens": usage and usage.prompt_tokens,
        "cached_tokens": usage and usage.cached_tokens,
        "completion_tokens": usage and usage.completion_tokens,
        "scored_tokens": usage and usage.scored_tokens,
        "computed_tokens": usage and usage.computed_tokens,
        "kept_tokens": kept,
        "discarded_tokens": discarded,
        "queued": call.queued,
        "sent": call.sent,
        "done": call.done,
        "first_token_seconds": usage and usage.time_to_first_token,
    }


def sample_row(record: SampleRecord) -> dict[str, Any]:
    """A sample as one flat row."""
    totals = CallTotals()
    for calls in record.calls.values():
        totals.merge(calls)
    sums = msgspec.to_builtins(totals)
    return {
        "task": record.id.task,
        "doc": record.id.doc,
        "repeat": record.id.repeat,
        "finish": record.finish,
        "failed": record.failed,
        "truncated": record.truncated,
        "turns": record.turns,
        "takeovers": sum(decision.takeover for decision in record.decisions),
        "failed_calls": sums.pop("failed"),  # the sample's own `failed` is another thing
        **sums,
        "kept_tokens": sum(record.kept_tokens.values()),
        "started": record.started,
        "ended": record.ended,
        "gathered_seconds": record.waited_seconds,
        "computing_over_waiting": waiting_ratio(record),
    }


def _tokens(segments: Iterator[SegmentRecord]) -> dict[tuple[str, str, int, int], int]:
    sums: dict[tuple[str, str, int, int], int] = {}
    for segment in segments:
        place = (segment.author, segment.kind, segment.turn, segment.attempt)
        sums[place] = sums.get(place, 0) + segment.tokens
    return sums
