"""Reads a run directory: what was run, what came out, what is missing.

run = open_run("runs/first")
run.record, run.missing(), [s.text for s in run.samples()], list(run.call_figures())
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from atts_harness.errors import RunDirError
from atts_harness.journal import schema
from atts_harness.journal.rows import Rows
from atts_harness.records import (
    CallFigures,
    CallRecord,
    DecisionRecord,
    RunRecord,
    SampleFigures,
    SampleId,
    SampleRecord,
)

MOST_NAMED = 10
CHECKED_BYTES = 1 << 28
"""Largest database that is checked as a whole on opening: 40 MiB take 0.04 s."""


@dataclass(frozen=True)
class RecordedSession:
    """One session of a run: from a start to its end.

    Attributes:
        began: wall-clock time, ISO 8601, UTC.
        elapsed: what the run's clock showed then, in seconds.
        command: how it was started.
        state: `finished`, `interrupted`, `failed`, or `running` (also for one that was killed).
        summary: counts that it recorded at its end.
    """

    began: str
    elapsed: float
    command: str
    state: str
    summary: dict[str, Any]


class RecordedRun:
    """A run directory, opened for reading. Use as a context manager, or close it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, record: RunRecord, rows: Rows
    ) -> None:
        self.path = path
        self.record = record
        self._connection = connection
        self._rows = rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def sessions(self) -> list[RecordedSession]:
        """The run's sessions, in order."""
        return [
            RecordedSession(
                row[1],
                row[2],
                row[3],
                row[4],
                self._rows.decoded("sessions", row, schema.decode_summary),
            )
            for row in self._rows.rows("sessions")
        ]

    def planned(self) -> dict[SampleId, str]:
        """Every sample that is asked for, by task, document and repeat, and its prompt.

        The prompt is given by its digest (`hashing.prompt_hash`): equal for the same question,
        whatever their numbers.
        """
        return {SampleId(*row[:3]): row[3] for row in self._rows.rows("planned")}

    def missing(self) -> list[SampleId]:
        """Samples that were asked for, are still wanted, and have no result."""
        return self._absent()[0]

    def dropped(self) -> list[SampleId]:
        """Samples that an earlier session asked for and the latest one did not.

        A run may be continued with fewer documents. If that session finished, what it did not ask
        for is not missing.
        """
        return self._absent()[1]

    def _absent(self) -> tuple[list[SampleId], list[SampleId]]:
        """Samples without a result: those that were asked for, and the others."""
        absent = list(self._rows.missing())
        sessions = self.sessions() if absent else []
        if not sessions or sessions[-1].state != "finished" or sessions[-1].summary.get("missing"):
            return absent, []
        finished = Counter(id_.task for id_ in self._rows.keys("samples"))
        complete = {
            task
            for task, entry in self.record.tasks.items()
            if 0 < entry.get("samples", 0) <= finished[task]
        }
        return [s for s in absent if s.task not in complete], [
            s for s in absent if s.task in complete
        ]

    def failed(self) -> list[SampleId]:
        """Samples that failed for good."""
        return list(self._rows.keys("samples", "WHERE failed"))

    @property
    def complete(self) -> bool:
        """True if every sample that was asked for has a result, failed ones included."""
        return not self.missing()

    def require_complete(self) -> None:
        """Refuse an incomplete run.

        Raises:
            RunDirError: samples are missing; names them and the command to resume.
        """
        missing = self.missing()
        if not missing:
            return
        names = [f"{s.task}/{s.doc}/{s.repeat}" for s in missing[:MOST_NAMED]]
        others = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        sessions = self.sessions()
        remedy = f"; to continue: {sessions[-1].command}" if sessions else ""
        raise RunDirError(
            f"{self.path}: incomplete: {len(missing)} of {len(self.planned())} samples are "
            f"missing ({', '.join(names)}{others}){remedy}"
        )

    def samples(self, task: str | None = None) -> Iterator[SampleRecord]:
        """Finished samples one by one, by task, document and repeat; of one task, or of all."""
        return self._rows.records("samples", schema.decode_sample, task=task)

    def sample_figures(self, task: str | None = None) -> Iterator[SampleFigures]:
        """As `samples`, without texts, for callers that keep many of them."""
        return self._rows.records("samples", schema.decode_sample_figures, task=task)

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """One finished sample; None if it has no result."""
        records = self._rows.records("samples", schema.decode_sample, sample=sample)
        return next(records, None)

    def decisions(
        self, task: str | None = None, sample: SampleId | None = None
    ) -> Iterator[DecisionRecord]:
        """Decisions one by one, in the order in which they were made; of all tasks, or of one.

        Args:
            task: of one task.
            sample: of one sample.
        """
        return self._rows.records("decisions", schema.decode_decision, task=task, sample=sample)

    def calls(
        self, sample: SampleId | None = None, *, task: str | None = None
    ) -> Iterator[CallRecord]:
        """Calls one by one, with requests and replies, in the order in which they were recorded.

        Args:
            sample: of one sample.
            task: of one task.
        """
        return self._rows.records("calls", schema.decode_call, sample=sample, task=task)

    def call_figures(
        self, sample: SampleId | None = None, *, task: str | None = None
    ) -> Iterator[CallFigures]:
        """As `calls`, without what was asked and replied: quicker, and a tenth of the memory."""
        return self._rows.records("calls", schema.decode_call_figures, sample=sample, task=task)

    def calls_by_sample(self) -> Iterator[CallRecord]:
        """As `calls`, by task, document, repeat, turn and attempt."""
        for sample in self._rows.keys("calls"):
            yield from sorted(self.calls(sample), key=_place)

    def metrics(self) -> Iterator[tuple[float, str, dict[str, float]]]:
        """The engines' own figures: seconds, engine, figures."""
        for row in self._rows.rows("metrics"):
            yield row[0], row[1], self._rows.decoded("metrics", row, schema.decode_figures)

    def close(self) -> None:
        """Close the journal."""
        self._connection.close()


def _place(call: CallRecord) -> tuple[int, str, int]:
    return (call.key.turn, call.key.kind, call.key.attempt)


def nominal_rate(record: RunRecord, task: str) -> float | None:
    """The takeover rate that a run aimed at on a task; None if its strategy aims at none.

    Runs of earlier releases did not record it; theirs is read from their options.
    """
    entry = record.tasks.get(task, {})
    if "nominal_rate" in entry:
        return None if entry["nominal_rate"] is None else float(entry["nominal_rate"])
    options = entry.get("options") or record.options
    if options.get("budget"):
        takeovers, _, samples = str(options["budget"]).partition("/")
        return int(takeovers) / int(samples)
    rate = options.get("rate")
    return float(rate) if isinstance(rate, int | float) else None


def open_run(path: str | Path) -> RecordedRun:
    """Open a run directory for reading; a run in progress can be read, too.

    Raises:
        RunDirError: there is no run, it is of another version, or it cannot be read.
    """
    folder = Path(path)
    database = folder / schema.JOURNAL
    try:
        exists = database.is_file()
    except PermissionError as error:
        raise RunDirError(f"{folder}: no permission to look into it") from error
    if not exists:
        lacks = f"holds no {schema.JOURNAL}" if folder.is_dir() else "is not a directory"
        raise RunDirError(f"{folder}: not a run directory: it {lacks}")
    try:
        connection = _open(database)
        try:
            _check(connection, database)
            if schema.is_empty(connection):
                raise RunDirError(
                    f"{folder}: the run ended before it began, so the directory is empty"
                )
            rows = Rows(connection, database, schema.version_of(connection, database))
            row = next(rows.rows("run"), None)
            if row is None:
                raise RunDirError(
                    f"{folder}: the run ended before it began, so the directory is empty"
                )
            record = rows.decoded("run", row, schema.decode_run)
            return RecordedRun(folder, connection, record, rows)
        except BaseException:
            connection.close()
            raise
    except schema.UNREADABLE as error:
        raise schema.explain(error, database) from error


def _check(connection: sqlite3.Connection, database: Path) -> None:
    """Refuse a database that lost whole rows, which no checksum of a row sees.

    Raises:
        RunDirError: its tables and indexes do not fit together.
    """
    if database.stat().st_size > CHECKED_BYTES:
        return
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise RunDirError(
            f"run_dir: {database}: the database is damaged ({' '.join(verdict.split())}); restore "
            "the directory from a copy"
        )


def _open(database: Path) -> sqlite3.Connection:
    uri = database.resolve().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # A reader has to write files beside the journal, which a read-only place forbids. If no
        # write-ahead log exists, `immutable` misses nothing.
        if database.with_name(database.name + "-wal").exists():
            raise
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True)
    return connection
