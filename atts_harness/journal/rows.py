"""What stands in a journal's tables: every query that reads records is here, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from atts_harness.errors import RunDirError
from atts_harness.journal import schema
from atts_harness.records import SampleId

T = TypeVar("T")
Table = Literal["calls", "decisions", "samples"]

ORDER: dict[Table, str] = {
    "calls": "rowid",
    "decisions": "sequence",
    "samples": "task, doc, repeat",
}
OF_SAMPLE = "WHERE task = ? AND doc = ? AND repeat = ?"
# The plus keeps the index on tasks out of it: in the order of recording a scan needs no sorting.
OF_TASK: dict[Table, str] = {
    "calls": "WHERE +task = ?",
    "decisions": "WHERE +task = ?",
    "samples": "WHERE task = ?",
}


class Rows:
    """Reads a journal's records.

    Args:
        connection: to the database.
        path: of the database, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The rows of a query, one by one.

        Raises:
            RunDirError: the database cannot be read.
        """
        try:
            yield from self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise schema.explain(error, self._path) from error

    def records(
        self,
        table: Table,
        decode: Callable[[bytes], T],
        *,
        sample: SampleId | None = None,
        task: str | None = None,
    ) -> Iterator[T]:
        """Records one by one: calls and decisions as they were made, samples by their ids.

        Args:
            table: which records.
            decode: from what is stored to what is wanted; fields that it does not want cost little.
            sample: of this sample only.
            task: of this task only.

        Raises:
            RunDirError: the database cannot be read, or a record is damaged.
        """
        where = ""
        values: tuple[Any, ...] = ()
        if sample is not None:
            where, values = OF_SAMPLE, (sample.task, sample.doc, sample.repeat)
        elif task is not None:
            where, values = OF_TASK[table], (task,)
        sql = f"SELECT task, doc, repeat, record FROM {table} {where} ORDER BY {ORDER[table]}"
        for *key, blob in self.query(sql, values):
            try:
                yield decode(blob)
            except msgspec.DecodeError as error:
                raise self._damaged(table, key, error) from error

    def keys(self, table: Table | Literal["planned"], where: str = "") -> Iterator[SampleId]:
        """The samples that a table has rows of, each once, in order."""
        sql = f"SELECT DISTINCT task, doc, repeat FROM {table} {where} ORDER BY task, doc, repeat"
        for row in self.query(sql):
            yield SampleId(*row)

    def last_time(self) -> float:
        """What the run's clock showed at the last record, in seconds; 0 if there is none."""
        sql = (
            "SELECT max((SELECT coalesce(max(done), 0) FROM calls),"
            " (SELECT coalesce(max(ended), 0) FROM samples))"
        )
        return float(next(self.query(sql))[0])

    def _damaged(self, table: Table, key: list[Any], error: Exception) -> RunDirError:
        task, doc, repeat = key
        return RunDirError(
            f"run_dir: {self._path}: a record in {table} of sample {task}/{doc}/{repeat} is "
            f"damaged ({error}); restore the directory from a copy, or use resume=false to start "
            "afresh"
        )
