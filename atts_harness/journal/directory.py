"""A run directory while a run writes to it: one run at a time, continued or started afresh.

DIR/journal.sqlite3   the journal (`atts_harness.journal.schema`)
DIR/lock              who is running; the lock goes with the process, however it ends
DIR/run.log           the log
DIR/journal-1.sqlite3 an older journal that `resume=false` set aside
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from atts_harness import neutral
from atts_harness.differences import brief
from atts_harness.errors import JournalMismatchError, RunDirError, SettingError
from atts_harness.journal import schema
from atts_harness.journal.filesystem import file_system
from atts_harness.journal.identity import differences, warnings
from atts_harness.journal.mirror import Mirror, Recorder, closed, mirror_of
from atts_harness.journal.plan import Planned
from atts_harness.journal.rows import OF_SAMPLE, Rows
from atts_harness.journal.sqlite import SqliteJournal, check_plan, connect
from atts_harness.journal.upgrade import take_out_damaged, upgrade_tables
from atts_harness.private import append_to, make_folder
from atts_harness.records import EXTRACTOR, SCHEMA_VERSION, RunRecord, SampleId

T = TypeVar("T")
logger = neutral.logger("atts_harness.journal")

_held: set[Path] = set()  # POSIX locks do not hold off the process that has them


class RunDirectory:
    """Holds a run directory: locks it on creation, releases it on close.

    Args:
        path: made if it is not there.
        resume: continue the journal in it; else set it aside.
        mirrored: use the mirror that a launcher announced for it, if one did.

    Raises:
        RunDirError: not a directory, no permission, no space, another run is using it, it
            belongs to another version, or its mirror cannot be reached.
    """

    def __init__(self, path: Path, *, resume: bool = True, mirrored: bool = True) -> None:
        self.path = path
        self._mirror: Mirror | None = None
        self._session: int | None = None
        try:
            make_folder(path, link=True)
            self._lock = _lock(path)
        except OSError as error:
            raise schema.explain(error, path) from error
        try:
            _warn_of_network(path)
            self._mirror = mirror_of(path) if mirrored else None
            if self._mirror is not None:
                if not resume:
                    raise SettingError(
                        "resume: false cannot be used with a mirrored journal; leave it out"
                    )
                self._mirror.fetch(self.database)
            if resume:
                self._check_version()
            else:
                self._set_aside()
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> Path:
        """The journal's file."""
        return self.path / schema.JOURNAL

    def prepare(self) -> None:
        """Lay out a journal where there is none.

        Raises:
            RunDirError: it cannot be written.
        """
        try:
            os.close(append_to(self.database))  # SQLite's other files get its mode
            with contextlib.closing(connect(self.database)) as connection:
                if schema.is_empty(connection):
                    schema.create(connection)
        except (OSError, *schema.UNREADABLE) as error:
            raise schema.explain(error, self.database) from error

    def recorded(self) -> RunRecord | None:
        """The record of the directory's run; None before it has begun.

        Raises:
            RunDirError: the journal cannot be read.
        """
        if not self.database.exists():
            return None
        try:
            with contextlib.closing(sqlite3.connect(self.database)) as connection:
                if schema.is_empty(connection):
                    return None
                version = schema.version_of(connection, self.database)
                rows = Rows(connection, self.database, version)
                row = next(rows.rows("run"), None)
                return None if row is None else rows.decoded("run", row, schema.decode_run)
        except schema.UNREADABLE as error:
            raise schema.explain(error, self.database) from error

    def journal(
        self,
        record: RunRecord,
        plan: Mapping[SampleId, Planned],
        *,
        defaults: Mapping[str, Any] | None = None,
        retry_failed: bool = False,
        command: str = "",
    ) -> SqliteJournal:
        """The journal of a run, new or continued; one of an earlier release is upgraded.

        Args:
            record: what is to be run.
            plan: its samples, and what each is asked for.
            defaults: of the strategy's options, for options that the recorded run did not have yet.
            retry_failed: forget samples and calls that failed for good.
            command: how the run was started, to tell people how to resume it.

        Raises:
            JournalMismatchError: the directory holds another run; names the differences.
            RunDirError: the journal cannot be written.
        """

        def begin(connection: sqlite3.Connection, path: Path) -> RunRecord:
            upgrade_tables(connection, path)
            if retry_failed:
                _forget_failed(connection, path)
            run = _begin(connection, path, record, plan, defaults or {})
            self._session = _begin_session(connection, path, command)
            return run

        try:
            if self._mirror is None:  # else the mirror's copy is laid out already
                self.prepare()
            return SqliteJournal(self.database, self._changed(begin), self._mirror)
        except (OSError, *schema.UNREADABLE) as error:
            raise schema.explain(error, self.database) from error

    def ended(self, state: str, summary: Mapping[str, Any]) -> None:
        """Note how the session of the last journal ended, after the journal was closed.

        Raises:
            RunDirError: it cannot be written.
        """
        if not self.database.exists():  # connecting would make another one
            raise RunDirError(f"run_dir: {self.database} is no longer there")
        try:
            self._changed(lambda connection, _: self._end(connection, state, summary))
        except schema.UNREADABLE as error:
            raise schema.explain(error, self.database) from error

    def _end(self, connection: sqlite3.Connection, state: str, summary: Mapping[str, Any]) -> None:
        rows = Rows(connection, self.database)
        for row in list(rows.rows("sessions", "WHERE number = ?", (self._session,))):
            ended = (*row[:4], state, schema.encode(dict(summary)))
            connection.execute("DELETE FROM sessions WHERE number = ?", (self._session,))
            connection.execute(schema.INSERT["sessions"], schema.sealed(ended))

    def upgrade(self) -> bool:
        """Bring the journal to this release's layout. True if it had another one.

        Raises:
            RunDirError: a newer release wrote it, or a record in it is damaged.
        """
        return self._changed(upgrade_tables)

    def repair(self) -> list[str]:
        """Remove damaged records, so that resuming makes them again. Returns what was removed.

        Raises:
            RunDirError: a newer release wrote it, or the run's own record is damaged.
        """
        return self._changed(take_out_damaged)

    def _changed(self, change: Callable[[sqlite3.Connection, Path], T]) -> T:
        try:
            with contextlib.closing(connect(self.database, Recorder)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = change(connection, self.database)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                if self._mirror is not None:
                    self._mirror.commit(connection.changes)
                return result
        except schema.UNREADABLE as error:
            raise schema.explain(error, self.database) from error

    def close(self) -> None:
        """Release the lock, so that another run can take the directory."""
        closed(self._mirror)
        _held.discard(self.path.resolve())
        self._lock.close()

    def _check_version(self) -> None:
        if not self.database.exists():
            return
        try:
            # Not `connect`, which would change a file that may not be ours.
            with contextlib.closing(sqlite3.connect(self.database)) as connection:
                if not schema.is_empty(connection):
                    schema.version_of(connection, self.database)
        except schema.UNREADABLE as error:
            raise schema.explain(error, self.database) from error

    def _set_aside(self) -> None:
        if not self.database.exists():
            return
        number = 1
        while (self.path / f"journal-{number}.sqlite3").exists():
            number += 1
        try:
            for suffix in ("", "-wal", "-shm"):
                file = self.path / (schema.JOURNAL + suffix)
                if file.exists():
                    file.rename(self.path / f"journal-{number}.sqlite3{suffix}")
        except OSError as error:
            raise schema.explain(error, self.database) from error


def _warn_of_network(path: Path) -> None:
    with contextlib.suppress(OSError):
        kind = file_system(path)
        if kind.lasting == "network":
            logger.warning("run_dir: %s lies on %s; %s", path, kind, kind.remedy)


def _lock(path: Path) -> IO[str]:
    if path.resolve() in _held:  # looked up first: closing the file would give the lock away
        raise RunDirError(f"run_dir: another run in this process is using {path}; close it first")
    file = os.fdopen(append_to(path / "lock"), "a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise RunDirError(
            f"run_dir: another run is using {path} ({holder}); wait for it, or use another run_dir"
        ) from error
    _held.add(path.resolve())
    began = datetime.now(UTC).isoformat(timespec="seconds")
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {began}\n")
    file.flush()
    return file


def _begin(
    connection: sqlite3.Connection,
    path: Path,
    record: RunRecord,
    plan: Mapping[SampleId, Planned],
    defaults: Mapping[str, Any],
) -> RunRecord:
    """Check a run against the recorded one, and record its plan. Returns the run's record."""
    rows = Rows(connection, path)
    row = next(rows.rows("run"), None)
    if row is not None:
        recorded = rows.decoded("run", row, schema.decode_run)
        requested = schema.decode_run(schema.encode(record))
        if differing := differences(recorded, requested, defaults):
            raise JournalMismatchError(
                f"run_dir: the directory holds another run: {brief(differing)}; use the recorded "
                "settings, another run_dir, or resume=false to start afresh"
            )
        for warning in warnings(recorded, requested):
            logger.warning("run_dir: resumed with a difference: %s", warning)
        recorded.tasks |= record.tasks
        recorded.extractor = record.extractor or recorded.extractor
        recorded.schema = SCHEMA_VERSION
        connection.execute("DELETE FROM run")
        record = recorded
    connection.execute(schema.INSERT["run"], schema.sealed((schema.encode(record),)))
    recorded_plan = {SampleId(*row[:3]): Planned(*row[3:]) for row in rows.rows("planned")}
    check_plan(recorded_plan, plan)
    planned = [
        schema.sealed((s.task, s.doc, s.repeat, *entry))
        for s, entry in plan.items()
        if recorded_plan.get(s) != entry
    ]
    connection.executemany(schema.INSERT["planned"], planned)
    return record


def _forget_failed(connection: sqlite3.Connection, path: Path) -> None:
    """Forget failed calls and samples, so that they are made again. Decisions stay as they are."""
    rows = Rows(connection, path)
    lost = [
        call.key
        for call in rows.records("calls", schema.decode_call_figures)
        if call.key.role == EXTRACTOR and call.reply is None
    ]
    for sample in list(rows.keys("samples", "WHERE failed")):
        calls = rows.records("calls", schema.decode_call_figures, sample=sample)
        lost += [call.key for call in calls if call.reply is None]
        connection.execute(f"DELETE FROM samples {OF_SAMPLE}", (*_columns(sample),))
    connection.executemany(
        f"DELETE FROM calls {OF_SAMPLE} AND kind = ? AND role = ? AND turn = ? AND attempt = ?",
        [(*_columns(key.sample), key.kind, key.role, key.turn, key.attempt) for key in lost],
    )


def _columns(sample: SampleId) -> tuple[str, int, int]:
    return (sample.task, sample.doc, sample.repeat)


def _begin_session(connection: sqlite3.Connection, path: Path, command: str) -> int:
    rows = Rows(connection, path)
    number = 1 + max((row[0] for row in rows.rows("sessions")), default=0)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    row = (number, began, rows.last_time(), command, "running", None)
    connection.execute(schema.INSERT["sessions"], schema.sealed(row))
    return number
