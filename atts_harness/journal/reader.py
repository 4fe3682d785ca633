"""A run directory for reading: what was run, what came out, what is missing.

run = open_run("runs/first")
run.record, run.missing(), [s.text for s in run.samples()], run.ledger().summary()
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from atts_harness.errors import RunDirError
from atts_harness.journal import schema
from atts_harness.ledger.prices import prices_of
from atts_harness.ledger.sums import Ledger, waiting_ratio
from atts_harness.records import (
    CallRecord,
    CallTotals,
    DecisionRecord,
    RunRecord,
    SampleId,
    SampleRecord,
    SegmentRecord,
)
from atts_harness.running.slots import lanes_of
from atts_harness.settings import RunOptions

MOST_NAMED = 10
BY_KEY = "ORDER BY task, doc, repeat"


@dataclass(frozen=True)
class Session:
    """One time the run was going.

    Attributes:
        began: wall-clock time, ISO 8601, UTC.
        elapsed: what the run's clock showed then, in seconds.
        command: how it was started.
        state: `finished`, `interrupted`, `failed`, or `running` (also for one that was killed).
        summary: what it said at its end.
    """

    began: str
    elapsed: float
    command: str
    state: str
    summary: dict[str, Any]


class RecordedRun:
    """A run directory, opened for reading. Use as a context manager, or close it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, record: RunRecord) -> None:
        self.path = path
        self.record = record
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def sessions(self) -> list[Session]:
        """When the run was going, in order."""
        rows = self._connection.execute(
            "SELECT began, elapsed, command, state, summary FROM sessions ORDER BY number"
        )
        return [
            Session(began, elapsed, command, state, msgspec.msgpack.decode(blob) if blob else {})
            for began, elapsed, command, state, blob in rows
        ]

    def planned(self) -> dict[SampleId, str]:
        """Every sample that was ever asked for, by task, document and repeat, and its prompt.

        The prompt is told by its digest (`hashing.prompt_hash`): what makes two questions the same,
        whatever their numbers.
        """
        query = f"SELECT task, doc, repeat, prompt FROM planned {BY_KEY}"
        return {SampleId(*key): prompt for *key, prompt in self._connection.execute(query)}

    def missing(self) -> list[SampleId]:
        """Samples that were asked for and have no result."""
        rows = self._connection.execute(
            f"SELECT task, doc, repeat FROM planned EXCEPT SELECT task, doc, repeat FROM samples "
            f"{BY_KEY}"
        )
        return [SampleId(*row) for row in rows]

    def failed(self) -> list[SampleId]:
        """Samples that failed for good."""
        rows = self._connection.execute(
            f"SELECT task, doc, repeat FROM samples WHERE failed {BY_KEY}"
        )
        return [SampleId(*row) for row in rows]

    @property
    def complete(self) -> bool:
        """True if every sample that was asked for has a result, failed ones included."""
        return not self.missing()

    def require_complete(self) -> None:
        """Refuse to go on with a part of a run.

        Raises:
            RunDirError: samples are missing; names them and the command to resume.
        """
        missing = self.missing()
        if not missing:
            return
        names = [f"{s.task}/{s.doc}/{s.repeat}" for s in missing[:MOST_NAMED]]
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        sessions = self.sessions()
        how = f"; to continue: {sessions[-1].command}" if sessions else ""
        raise RunDirError(
            f"{self.path}: incomplete: {len(missing)} of {len(self.planned())} samples are "
            f"missing ({', '.join(names)}{more}){how}"
        )

    def samples(self) -> Iterator[SampleRecord]:
        """Finished samples, by task, document and repeat."""
        for (blob,) in self._connection.execute(f"SELECT record FROM samples {BY_KEY}"):
            yield schema.decode_sample(blob)

    def decisions(self) -> Iterator[DecisionRecord]:
        """Decisions, in the order in which they were made."""
        query = "SELECT record FROM decisions ORDER BY sequence"
        for (blob,) in self._connection.execute(query):
            yield schema.decode_decision(blob)

    def calls(self, sample: SampleId | None = None) -> Iterator[CallRecord]:
        """Calls, in the order in which they were recorded; of one sample, or of all."""
        where = ""
        values: tuple[str | int, ...] = ()
        if sample is not None:
            where = "WHERE task = ? AND doc = ? AND repeat = ?"
            values = (sample.task, sample.doc, sample.repeat)
        query = f"SELECT record FROM calls {where} ORDER BY rowid"
        for (blob,) in self._connection.execute(query, values):
            yield schema.decode_call(blob)

    def metrics(self) -> Iterator[tuple[float, str, dict[str, float]]]:
        """The engines' own figures: seconds, engine, figures."""
        rows = self._connection.execute("SELECT at, engine, figures FROM metrics ORDER BY rowid")
        for at, engine, blob in rows:
            yield at, engine, msgspec.msgpack.decode(blob)

    def ledger(self) -> Ledger:
        """What the run cost so far."""
        fields = set(RunOptions.__struct_fields__)
        known = {k: v for k, v in self.record.settings.items() if k in fields}
        options = msgspec.convert(known, RunOptions)
        ledger = Ledger(lanes_of(options), prices_of(options))
        for call in self.calls():
            ledger.add_call(call)
        for sample in self.samples():
            ledger.add_sample(sample)
        for at, engine, figures in self.metrics():
            ledger.add_figures(at, engine, figures)
        return ledger

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row a call, with what became of its tokens, for export."""
        kept: dict[tuple[str, str, int, int], int] = {}
        discarded: dict[tuple[str, str, int, int], int] = {}
        query = f"SELECT record FROM calls {BY_KEY}, turn, kind, attempt"
        current: SampleId | None = None
        for (blob,) in self._connection.execute(query):
            call = schema.decode_call(blob)
            if call.key.sample != current:
                current = call.key.sample
                segments = self._segments(current)
                kept = _tokens(s for s in segments if s.kept)
                discarded = _tokens(s for s in segments if not s.kept)
            place = (call.key.role, call.key.kind, call.key.turn, call.key.attempt)
            yield call_row(call, kept.get(place, 0), discarded.get(place, 0))

    def sample_rows(self) -> Iterator[dict[str, Any]]:
        """One flat row a sample: how it ended, its sums and its waiting, for export."""
        for record in self.samples():
            yield sample_row(record)

    def close(self) -> None:
        """Let go of the journal."""
        self._connection.close()

    def _segments(self, sample: SampleId) -> list[SegmentRecord]:
        row = self._connection.execute(
            "SELECT record FROM samples WHERE task = ? AND doc = ? AND repeat = ?",
            (sample.task, sample.doc, sample.repeat),
        ).fetchone()
        return schema.decode_sample(row[0]).segments if row else []


def open_run(path: str | Path) -> RecordedRun:
    """Open a run directory for reading; a run that is going can be read, too.

    Raises:
        RunDirError: there is no run, or it is another version's, or it cannot be read.
    """
    folder = Path(path)
    database = folder / schema.JOURNAL
    try:
        there = database.is_file()
    except PermissionError as error:
        raise RunDirError(f"{folder}: no permission to look into it") from error
    if not there:
        lacks = f"holds no {schema.JOURNAL}" if folder.is_dir() else "is no directory"
        raise RunDirError(f"{folder}: not a run directory: it {lacks}")
    try:
        connection = _open(database)
        try:
            if schema.is_empty(connection):
                raise RunDirError(f"{folder}: the run was ended before it began; nothing is there")
            schema.check(connection, database)
            row = connection.execute("SELECT record FROM run").fetchone()
            if row is None:
                raise RunDirError(f"{folder}: the run was ended before it began; nothing is there")
            return RecordedRun(folder, connection, schema.decode_run(row[0]))
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise schema.explain(error, database) from error


def _open(database: Path) -> sqlite3.Connection:
    where = database.resolve().as_uri()
    connection = sqlite3.connect(f"{where}?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # A reader has to write beside the journal, too, which a read-only place forbids; without
        # a log that is being written there is nothing it could miss.
        if database.with_name(database.name + "-wal").exists():
            raise
        connection = sqlite3.connect(f"{where}?immutable=1", uri=True)
    return connection


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
    for own in record.calls.values():
        totals.merge(own)
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
