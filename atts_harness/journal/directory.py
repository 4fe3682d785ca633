"""A run directory while a run writes to it: one run at a time, continued or started afresh.

DIR/journal.sqlite3   the journal (`atts_harness.journal.schema`)
DIR/lock              who is running; the lock goes with the process, however it ends
DIR/run.log           the log
DIR/journal-1.sqlite3 an older journal that `resume=false` set aside
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from atts_harness.errors import JournalMismatchError, RunDirError
from atts_harness.journal import schema
from atts_harness.journal.identity import brief, differences, warnings
from atts_harness.journal.rows import Rows
from atts_harness.journal.sqlite import SqliteJournal, connect
from atts_harness.records import EXTRACTOR, RunRecord, SampleId

logger = logging.getLogger("atts_harness.journal")

_held: set[Path] = set()  # POSIX locks do not hold off the process that has them


class RunDirectory:
    """Holds a run directory: locks it when made, gives it back when closed.

    Args:
        path: made if it is not there.
        resume: continue the journal in it; else set it aside.

    Raises:
        RunDirError: not a directory, no permission, no space, another run is using it, or it
            belongs to another version.
    """

    def __init__(self, path: Path, *, resume: bool = True) -> None:
        self.path = path
        self._session: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise schema.explain(error, path) from error
        try:
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

    def journal(
        self,
        record: RunRecord,
        plan: Mapping[SampleId, str],
        *,
        retry_failed: bool = False,
        command: str = "",
    ) -> SqliteJournal:
        """The journal of a run, new or continued.

        Args:
            record: what is to be run.
            plan: its samples, with the hash of their prompts.
            retry_failed: forget samples and calls that failed for good.
            command: how the run was started, to tell people how to resume it.

        Raises:
            JournalMismatchError: the directory holds a run of something else; names it.
            RunDirError: the journal cannot be written.
        """
        try:
            connection = connect(self.database)
            with contextlib.closing(connection):
                if schema.is_empty(connection):
                    schema.create(connection)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    _begin(connection, record, plan, retry_failed)
                    elapsed = Rows(connection, self.database).last_time()
                    self._session = _begin_session(connection, command, elapsed)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            return SqliteJournal(self.database)
        except sqlite3.Error as error:
            raise schema.explain(error, self.database) from error

    def ended(self, state: str, summary: Mapping[str, Any]) -> None:
        """Note how the session of the last journal ended, after the journal was closed.

        Raises:
            RunDirError: it cannot be written.
        """
        try:
            with contextlib.closing(connect(self.database)) as connection:
                connection.execute(
                    "UPDATE sessions SET state = ?, summary = ? WHERE number = ?",
                    (state, schema.encode(dict(summary)), self._session),
                )
        except sqlite3.Error as error:
            raise schema.explain(error, self.database) from error

    def close(self) -> None:
        """Let another run have it."""
        _held.discard(self.path.resolve())
        self._lock.close()

    def _check_version(self) -> None:
        if not self.database.exists():
            return
        try:
            # Not `connect`: what is not ours is not to be touched.
            with contextlib.closing(sqlite3.connect(self.database)) as connection:
                if not schema.is_empty(connection):
                    schema.check(connection, self.database)
        except sqlite3.Error as error:
            raise schema.explain(error, self.database) from error

    def _set_aside(self) -> None:
        if not self.database.exists():
            return
        number = 1
        while (self.path / f"journal-{number}.sqlite3").exists():
            number += 1
        try:
            for suffix in ("", "-wal", "-shm"):
                old = self.path / (schema.JOURNAL + suffix)
                if old.exists():
                    old.rename(self.path / f"journal-{number}.sqlite3{suffix}")
        except OSError as error:
            raise schema.explain(error, self.database) from error


def _lock(path: Path) -> IO[str]:
    if path.resolve() in _held:  # looked up first: closing the file would give the lock away
        raise RunDirError(f"run_dir: another run in this process is using {path}; close it first")
    file = (path / "lock").open("a+")
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
    record: RunRecord,
    plan: Mapping[SampleId, str],
    retry_failed: bool,
) -> None:
    row = connection.execute("SELECT record FROM run").fetchone()
    if row is None:
        connection.execute("INSERT INTO run VALUES (?)", (schema.encode(record),))
    else:
        recorded = schema.decode_run(row[0])
        asked = schema.decode_run(schema.encode(record))
        if found := differences(recorded, asked):
            raise JournalMismatchError(
                f"run_dir: the directory holds another run: {brief(found)}; use the recorded "
                "settings, another run_dir, or resume=false to start afresh"
            )
        for warning in warnings(recorded, asked):
            logger.warning("run_dir: resumed with a difference: %s", warning)
        recorded.tasks |= record.tasks
        recorded.extractor = record.extractor or recorded.extractor
        connection.execute("UPDATE run SET record = ?", (schema.encode(recorded),))
    if retry_failed:
        _forget_failed(connection)
    _check_prompts(connection, plan)
    rows = [(s.task, s.doc, s.repeat, prompt) for s, prompt in plan.items()]
    connection.executemany("INSERT OR IGNORE INTO planned VALUES (?, ?, ?, ?)", rows)


def _check_prompts(connection: sqlite3.Connection, plan: Mapping[SampleId, str]) -> None:
    for task, doc, repeat, prompt in _planned(connection):
        now = plan.get(SampleId(task, doc, repeat))
        if now is not None and now != prompt:
            raise JournalMismatchError(
                f"run_dir: the prompt of {task}, document {doc}, differs from the recorded one "
                "(other task files, few-shot examples, system instruction or chat messages); use "
                "those of the recorded run, another run_dir, or resume=false to start afresh"
            )


def _planned(connection: sqlite3.Connection) -> Iterable[tuple[str, int, int, str]]:
    return connection.execute("SELECT task, doc, repeat, prompt FROM planned")


def _forget_failed(connection: sqlite3.Connection) -> None:
    """What failed is asked again; decisions that were made without a score stay made."""
    where = f"WHERE role = '{EXTRACTOR}'"
    for rowid, blob in connection.execute(f"SELECT rowid, record FROM calls {where}").fetchall():
        if schema.decode_call(blob).reply is None:
            connection.execute("DELETE FROM calls WHERE rowid = ?", (rowid,))
    failed = connection.execute("SELECT task, doc, repeat FROM samples WHERE failed").fetchall()
    for key in failed:
        where = "WHERE task = ? AND doc = ? AND repeat = ?"
        calls = connection.execute(f"SELECT rowid, record FROM calls {where}", key).fetchall()
        lost = [(rowid,) for rowid, blob in calls if schema.decode_call(blob).reply is None]
        connection.executemany("DELETE FROM calls WHERE rowid = ?", lost)
        connection.execute(f"DELETE FROM samples {where}", key)


def _begin_session(connection: sqlite3.Connection, command: str, elapsed: float) -> int:
    began = datetime.now(UTC).isoformat(timespec="seconds")
    cursor = connection.execute(
        "INSERT INTO sessions (began, elapsed, command, state) VALUES (?, ?, ?, 'running')",
        (began, elapsed, command),
    )
    return int(cursor.lastrowid or 0)
