"""The journal of a run directory: SQLite in WAL mode, written by one thread.

The run's loop hands over rows and goes on; the thread commits them together, about every 20 ms.
Rows are committed in the order in which they were handed over. A commit survives the death of the
process; against power loss only what was checkpointed is promised.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from atts_harness.errors import JournalMismatchError, RunDirError
from atts_harness.journal import schema
from atts_harness.journal.lost import FileWatch
from atts_harness.journal.mirror import Mirror
from atts_harness.journal.plan import Planned
from atts_harness.journal.rows import OF_SAMPLE, Rows
from atts_harness.records import (
    CallFigures,
    CallKey,
    CallRecord,
    DecisionRecord,
    RunRecord,
    SampleId,
    SampleRecord,
)

COMMIT_SECONDS = 0.02
MOST_WAITING = 10_000  # rows; a disk that cannot keep up slows the run down, not fills the memory
WITHDRAW = f"DELETE FROM planned {OF_SAMPLE}"

Row = tuple[str, Sequence[Any], bool]  # statement, values, whether a checksum is added


class SqliteJournal:
    """A `Journal` on disk. Made by `RunDirectory.journal`, which checks and locks.

    Args:
        path: of an existing database, of this release's layout.
        record: what is being run, as it stands in the database.
        mirror: a copy elsewhere; a transaction counts as committed once the mirror confirms it.
    """

    def __init__(self, path: Path, record: RunRecord, mirror: Mirror | None = None) -> None:
        self._path = path
        self._mirror = mirror
        self._run = record
        self._reader = connect(path)
        self._recorded = Rows(self._reader, path)
        self._planned: dict[SampleId, Planned] = {
            SampleId(*row[:3]): Planned(*row[3:]) for row in self._recorded.rows("planned")
        }
        self._begun = {*self._recorded.keys("calls"), *self._recorded.keys("decisions")}
        self._finished = set(self._recorded.keys("samples"))
        self._calls: dict[SampleId, dict[CallKey, CallRecord]] = {}
        self._turns: dict[SampleId, dict[int, DecisionRecord]] = {}
        self.elapsed = self._recorded.last_time()
        self.sequence = self._recorded.last_decision()
        self._rows: list[Row] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._error: RunDirError | None = None
        self._told = False  # whether the run was told of the error
        self._closing = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="atts-journal", daemon=True)
        self._thread.start()

    def recorded(self) -> Iterator[CallFigures | SampleRecord]:
        """Every call and every finished sample of earlier sessions."""
        yield from self._recorded.records("calls", schema.decode_call_figures)
        yield from self._recorded.records("samples", schema.decode_sample)

    def ask(self, plan: Mapping[SampleId, Planned], tasks: Mapping[str, dict[str, Any]]) -> None:
        """Add samples to the plan of a run in progress; see `Journal.ask`."""
        check_plan(self._planned, plan)
        for sample, entry in plan.items():
            if self._planned.get(sample) != entry:
                self._planned[sample] = entry
                self._put(schema.INSERT["planned"], (*_columns(sample), *entry))
        if any(self._run.tasks.get(name) != task_entry for name, task_entry in tasks.items()):
            self._run.tasks |= tasks
            self._put("DELETE FROM run", (), sealed=False)
            self._put(schema.INSERT["run"], (schema.encode(self._run),))

    def withdraw(self, sample: SampleId) -> bool:
        """Take a sample out of the plan; see `Journal.withdraw`."""
        if self._planned.pop(sample, None) is not None:
            self._put(WITHDRAW, _columns(sample), sealed=False)
        return True

    async def again(self, sample: SampleId) -> None:
        """Prepare to run a cancelled sample of this session again; see `Journal.again`."""
        await self._committed()
        self._begun.add(sample)
        self._calls.pop(sample, None)
        self._turns.pop(sample, None)

    def call(self, key: CallKey) -> CallRecord | None:
        """The recorded call, if there is one."""
        if key.sample not in self._begun:
            return None
        calls = self._calls.get(key.sample)
        if calls is None:
            records = self._recorded.records("calls", schema.decode_call, sample=key.sample)
            calls = self._calls[key.sample] = {record.key: record for record in records}
        return calls.get(key)

    async def record_call(self, record: CallRecord) -> None:
        """Record a call; committed soon, and before anything recorded after it.

        Raises:
            RunDirError: the journal can no longer be written.
        """
        key = record.key
        place = (*_columns(key.sample), key.kind, key.role, key.turn, key.attempt)
        self._put(schema.INSERT["calls"], (*place, float(record.done), schema.encode(record)))
        if len(self._rows) > MOST_WAITING:
            await self._committed()

    def decision(self, sample: SampleId, turn: int) -> DecisionRecord | None:
        """The recorded decision, if there is one."""
        if sample not in self._begun:
            return None
        decisions = self._turns.get(sample)
        if decisions is None:
            records = self._recorded.records("decisions", schema.decode_decision, sample=sample)
            decisions = self._turns[sample] = {record.turn: record for record in records}
        return decisions.get(turn)

    def record_decision(self, record: DecisionRecord) -> None:
        """Record a decision; committed no later than any call recorded after it."""
        row = (record.sequence, *_columns(record.sample), record.turn, schema.encode(record))
        self._put(schema.INSERT["decisions"], row)

    def decisions(self, task: str | None = None) -> Iterable[DecisionRecord]:
        """Recorded decisions, in the order in which they were made; of one task, or of all."""
        return self._recorded.records("decisions", schema.decode_decision, task=task)

    def sample(self, sample: SampleId) -> SampleRecord | None:
        """The finished sample, if it is recorded."""
        if sample not in self._finished:
            return None
        return next(self._recorded.records("samples", schema.decode_sample, sample=sample), None)

    async def record_sample(self, record: SampleRecord) -> None:
        """Record a finished sample; committed when this returns.

        Raises:
            RunDirError: the journal can no longer be written.
        """
        failed = int(record.failed is not None)
        row = (*_columns(record.id), failed, float(record.ended), schema.encode(record))
        self._put(schema.INSERT["samples"], row)
        self._calls.pop(record.id, None)
        self._turns.pop(record.id, None)
        await self._committed()
        self._finished.add(record.id)

    def record_metrics(self, at: float, engine: str, values: dict[str, float]) -> None:
        """Record an engine's own figures."""
        self._put(schema.INSERT["metrics"], (float(at), engine, schema.encode(values)))

    def close(self) -> None:
        """Commit what is pending and close.

        Raises:
            RunDirError: something could not be written and nobody was told yet.
        """
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()
        self._reader.close()
        if self._error is not None and not self._told:
            raise self._error

    def _put(self, statement: str, row: Sequence[Any], *, sealed: bool = True) -> None:
        self._raise_error()
        with self._changed:
            self._rows.append((statement, row, sealed))
            if len(self._rows) == 1:
                self._changed.notify()

    async def _committed(self) -> None:
        """Wait until everything handed over so far is committed."""
        self._raise_error()
        self._loop = asyncio.get_running_loop()
        committed = self._loop.create_future()
        with self._changed:
            self._waiting.append(committed)
            self._changed.notify()
        await committed

    def _raise_error(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _write(self) -> None:
        try:
            connection = connect(self._path)
            watch = FileWatch(self._path, mirrored=self._mirror is not None)
        except (*schema.UNREADABLE, OSError) as error:
            self._fail(schema.explain(error, self._path), [])
            return
        try:
            while self._write_some(connection, watch):
                pass
        finally:
            connection.close()

    def _write_some(self, connection: sqlite3.Connection, watch: FileWatch) -> bool:
        with self._changed:
            while not (self._rows or self._waiting or self._closing.is_set()):
                self._changed.wait()
        self._closing.wait(COMMIT_SECONDS)  # what comes meanwhile is committed together
        with self._changed:
            closing = self._closing.is_set()
            rows, self._rows = self._rows, []
            waiting, self._waiting = self._waiting, []
        try:
            changes = [
                (statement, schema.sealed(row) if sealed else tuple(row))
                for statement, row, sealed in rows
            ]
            with connection:  # one transaction: all of it or nothing
                connection.execute("BEGIN")
                for statement, values in changes:
                    connection.execute(statement, values)
        except schema.UNREADABLE as error:
            self._fail(watch.lost(connection) or schema.explain(error, self._path), waiting)
            return False
        try:
            # Before the file is looked for: where it is gone, the mirror's copy is what goes on.
            if self._mirror is not None:
                self._mirror.commit(changes)
        except RunDirError as error:
            self._fail(error, waiting)
            return False
        if (lost := watch.lost(connection)) is not None:
            self._fail(lost, waiting)
            return False
        self._tell(waiting, None)
        return not closing

    def _fail(self, error: RunDirError, waiting: list[asyncio.Future[None]]) -> None:
        with self._changed:
            self._error = error
            waiting = waiting + self._waiting
            self._waiting = []
            self._told = self._told or bool(waiting)
        self._tell(waiting, error)

    def _tell(self, waiting: list[asyncio.Future[None]], error: RunDirError | None) -> None:
        if waiting and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waiting, error)


C = TypeVar("C", bound=sqlite3.Connection)


@overload
def connect(path: Path) -> sqlite3.Connection: ...
@overload
def connect(path: Path, factory: type[C]) -> C: ...
def connect(
    path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Open a database for this module's way of writing.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=10, factory=factory
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def check_plan(recorded: Mapping[SampleId, Planned], plan: Mapping[SampleId, Planned]) -> None:
    """Refuse samples whose question, budget or settings differ from those recorded for them.

    Raises:
        JournalMismatchError: names the first, and what differs.
    """
    for sample, entry in plan.items():
        before = recorded.get(sample)
        if before is not None and before != entry and (differing := before.difference(entry)):
            raise JournalMismatchError(
                f"run_dir: {sample.task}, document {sample.doc}: {differing}; use those of the "
                "recorded run, another run_dir, or resume=false to start afresh"
            )


def _columns(sample: SampleId) -> tuple[str, int, int]:
    return (sample.task, sample.doc, sample.repeat)


def _resolve(waiting: list[asyncio.Future[None]], error: RunDirError | None) -> None:
    for committed in waiting:
        if committed.done():
            continue  # its sample was cancelled meanwhile
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)
