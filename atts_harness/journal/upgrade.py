"""Upgrades journals of earlier releases, and removes damaged records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atts_harness.errors import DamagedJournalError, RunDirError
from atts_harness.journal import schema
from atts_harness.journal.rows import OF_SAMPLE, ORDER, Rows
from atts_harness.journal.schema import ADDED, COLUMNS, DECODE, Table

UNSEALED = ("record", "figures", "summary")


def upgrade_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Bring a journal to this release's layout, inside the transaction that is open.

    Every record is decoded first, so that nothing is sealed that cannot be read.

    Returns:
        Whether there was anything to do.

    Raises:
        DamagedJournalError: a record cannot be read.
        RunDirError: a newer release wrote it, or it is not a journal.
    """
    if schema.version_of(connection, path) == schema.VERSION:
        return False
    rows = Rows(connection, path, schema.WITHOUT_CHECKSUMS)
    seals = {table: list(_seals(connection, rows, table)) for table in COLUMNS}
    for table in COLUMNS:
        for name, kind in ADDED.get(table, {}).items():
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
        key = "task = ? AND doc = ? AND repeat = ?" if table == "planned" else "rowid = ?"
        connection.executemany(f"UPDATE {table} SET crc = ? WHERE {key}", seals[table])
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    return True


def take_out_damaged(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Remove damaged records, inside the transaction that is open.

    A sample with a damaged call or decision is removed, too: resuming makes it again from the calls
    that are left, and repeats the others.

    Returns:
        What was removed, in words.

    Raises:
        RunDirError: the record of the run itself is damaged, and nothing can be done without it.
    """
    rows = Rows(connection, path, schema.version_of(connection, path))
    removed = []
    for table in COLUMNS:
        checked = list(rows.checked(table))
        for row in [row for row, whole in checked if not _sound(rows, table, row, whole)]:
            if table == "run":
                raise RunDirError(
                    f"{path.parent}: the run's own record is damaged, so nothing can be continued "
                    "from it; restore the directory from a copy, or use resume=false"
                )
            removed.append(rows.name(table, row))
            _take_out(connection, table, row)
    return removed


def _sound(rows: Rows, table: Table, row: tuple[Any, ...], whole: bool) -> bool:
    try:
        if whole and table in DECODE:
            rows.decoded(table, row, DECODE[table])
    except DamagedJournalError:
        return False
    return whole


def _take_out(connection: sqlite3.Connection, table: Table, row: tuple[Any, ...]) -> None:
    values = {n: v for n, v in zip(COLUMNS[table], row, strict=True) if n not in UNSEALED}
    condition = " AND ".join(f"{name} IS ?" for name in values)
    connection.execute(f"DELETE FROM {table} WHERE {condition}", tuple(values.values()))
    if table in ("calls", "decisions"):
        key = (values["task"], values["doc"], values["repeat"])
        connection.execute(f"DELETE FROM samples {OF_SAMPLE}", key)


def _seals(connection: sqlite3.Connection, rows: Rows, table: Table) -> Iterator[tuple[Any, ...]]:
    """For each row of an old table: its checksum in the new one, and its key."""
    name = "task, doc, repeat" if table == "planned" else "rowid"
    names = connection.execute(f"SELECT {name} FROM {table} ORDER BY {ORDER[table]}")
    for row, key in zip(rows.rows(table), names, strict=True):
        if table in DECODE:
            rows.decoded(table, row, DECODE[table])
        yield (schema.checksum(row), *key)
