"""Every query that reads records from a journal's tables.

A row is checked against its checksum before anybody sees it. Damage is one error that names the
record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from atts_harness.errors import DamagedJournalError
from atts_harness.journal import schema
from atts_harness.journal.schema import ADDED, COLUMNS, Table
from atts_harness.records import SampleId

T = TypeVar("T")
Records = Literal["calls", "decisions", "samples"]
OfSamples = Literal["planned", "calls", "decisions", "samples"]

ORDER: dict[Table, str] = {
    "run": "rowid",
    "sessions": "number",
    "planned": "task, doc, repeat",
    "calls": "rowid",
    "decisions": "sequence",
    "samples": "task, doc, repeat",
    "metrics": "rowid",
}
NAMES: dict[Table, str] = {
    "run": "what was run",
    "sessions": "session",
    "planned": "what was asked for",
    "calls": "call",
    "decisions": "decision",
    "samples": "sample",
    "metrics": "engine figures at second",
}
OF_SAMPLE = "WHERE task = ? AND doc = ? AND repeat = ?"
# The plus stops SQLite from using the index on tasks: a scan in recorded order needs no sorting.
OF_TASK: dict[Records, str] = {
    "calls": "WHERE +task = ?",
    "decisions": "WHERE +task = ?",
    "samples": "WHERE task = ?",
}


class Rows:
    """Reads a journal.

    Args:
        connection: to the database.
        path: of the database, for messages.
        version: its layout; that of 0.1.0 has no checksums.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, version: int = schema.VERSION
    ) -> None:
        self._connection = connection
        self._path = path
        self._sealed = version != schema.WITHOUT_CHECKSUMS

    def rows(
        self, table: Table, condition: str = "", values: tuple[Any, ...] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a table, by the columns of `schema.COLUMNS`, in order, each checked.

        Raises:
            DamagedJournalError: a row is not what was written.
            RunDirError: the database cannot be read.
        """
        for row, whole in self.checked(table, condition, values):
            if not whole:
                raise self.damaged(table, row, "its checksum does not fit")
            yield row

    def checked(
        self, table: Table, condition: str = "", values: tuple[Any, ...] = ()
    ) -> Iterator[tuple[tuple[Any, ...], bool]]:
        """As `rows`, with damaged rows; the flag says whether a row is as it was written."""
        names = [name if self._has(table, name) else "NULL" for name in COLUMNS[table]]
        columns = ", ".join([*names, "crc" if self._sealed else "NULL"])
        sql = f"SELECT {columns} FROM {table} {condition} ORDER BY {ORDER[table]}"
        sealed, checksum = self._sealed, schema.checksum
        try:
            for *row, crc in self._connection.execute(sql, values):
                yield tuple(row), not sealed or checksum(row) == crc
        except schema.UNREADABLE as error:
            raise schema.explain(error, self._path) from error

    def records(
        self,
        table: Records,
        decode: Callable[[bytes], T],
        *,
        sample: SampleId | None = None,
        task: str | None = None,
    ) -> Iterator[T]:
        """Records one by one: calls and decisions as they were made, samples by their ids.

        Args:
            table: which records.
            decode: makes a record from the stored bytes; fields that it leaves out cost little.
            sample: of this sample only.
            task: of this task only.

        Raises:
            DamagedJournalError: a record is not what was written.
            RunDirError: the database cannot be read.
        """
        condition = ""
        values: tuple[Any, ...] = ()
        if sample is not None:
            condition, values = OF_SAMPLE, (sample.task, sample.doc, sample.repeat)
        elif task is not None:
            condition, values = OF_TASK[table], (task,)
        for row in self.rows(table, condition, values):
            yield self.decoded(table, row, decode)

    def decoded(self, table: Table, row: tuple[Any, ...], decode: Callable[[bytes], T]) -> T:
        """The record in the last column of a row, decoded.

        Raises:
            DamagedJournalError: it cannot be decoded.
        """
        try:
            return decode(row[-1])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
            raise self.damaged(table, row, str(error)) from error

    def keys(self, table: OfSamples, condition: str = "") -> Iterator[SampleId]:
        """The samples that a table has rows of, each once, in order."""
        sql = (
            f"SELECT DISTINCT task, doc, repeat FROM {table} {condition} ORDER BY task, doc, repeat"
        )
        for row in self._query(sql):
            yield SampleId(*row)

    def missing(self) -> Iterator[SampleId]:
        """Samples that were asked for and have no result, in order."""
        sql = (
            "SELECT task, doc, repeat FROM planned EXCEPT SELECT task, doc, repeat FROM samples"
            " ORDER BY task, doc, repeat"
        )
        for row in self._query(sql):
            yield SampleId(*row)

    def last_time(self) -> float:
        """What the run's clock showed at the last record, in seconds; 0 if there is none."""
        sql = (
            "SELECT max((SELECT coalesce(max(done), 0) FROM calls),"
            " (SELECT coalesce(max(ended), 0) FROM samples))"
        )
        return float(next(self._query(sql))[0])

    def last_decision(self) -> int:
        """The number of the last decision; 0 if there is none."""
        return int(next(self._query("SELECT coalesce(max(sequence), 0) FROM decisions"))[0])

    def damaged(self, table: Table, row: tuple[Any, ...], reason: str) -> DamagedJournalError:
        """The error about a row that cannot be trusted."""
        return DamagedJournalError(
            f"run_dir: {self._path}: a record is damaged: {self.name(table, row)}: {reason}; `atts "
            f"repair {self._path.parent}` takes it out, and the same command as before makes it "
            "again; or restore the directory from a copy"
        )

    def name(self, table: Table, row: tuple[Any, ...]) -> str:
        """What a row is, in words."""
        values = dict(zip(COLUMNS[table], row, strict=True))
        words = [NAMES[table]]
        if "task" in values:
            words.append(f"of {values['task']}/{values['doc']}/{values['repeat']}")
        if "turn" in values:
            words.append(f"turn {values['turn']}")
        if "kind" in values:
            words.append(f"({values['role']}/{values['kind']})")
        if table in ("sessions", "metrics"):
            words.append(str(row[0]))
        return " ".join(words)

    def _has(self, table: Table, column: str) -> bool:
        return self._sealed or column not in ADDED.get(table, {})

    def _query(self, sql: str) -> Iterator[Any]:
        try:
            yield from self._connection.execute(sql)
        except schema.UNREADABLE as error:
            raise schema.explain(error, self._path) from error
