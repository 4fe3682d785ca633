"""The run directory's database: tables, versions, rows.

One SQLite file, `journal.sqlite3`. Each row has its key in columns, a message-pack record, and a
checksum of all of it. `PRAGMA application_id` says that the file is ours, `PRAGMA user_version`
which layout it has:

1001    without checksums, budgets and terms (0.1.0)
2001    with them
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from atts_harness.errors import RunDirError
from atts_harness.records import (
    CallFigures,
    CallRecord,
    DecisionRecord,
    RunRecord,
    SampleFigures,
    SampleRecord,
)

JOURNAL = "journal.sqlite3"
APPLICATION_ID = 0x41545453  # "ATTS"
WITHOUT_CHECKSUMS = 1001
VERSION = 2001

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises; the second where its own message quotes damaged bytes."""

Table = Literal["run", "sessions", "planned", "calls", "decisions", "samples", "metrics"]

COLUMNS: dict[Table, tuple[str, ...]] = {
    "run": ("record",),
    "sessions": ("number", "began", "elapsed", "command", "state", "summary"),
    "planned": ("task", "doc", "repeat", "prompt", "budget", "terms"),
    "calls": ("task", "doc", "repeat", "kind", "role", "turn", "attempt", "done", "record"),
    "decisions": ("sequence", "task", "doc", "repeat", "turn", "record"),
    "samples": ("task", "doc", "repeat", "failed", "ended", "record"),
    "metrics": ("at", "engine", "figures"),
}
"""The columns of each table that its checksum is over, in order."""

ADDED: dict[Table, dict[str, str]] = {"planned": {"budget": "INTEGER", "terms": "TEXT"}}
"""Columns, beside the checksum, that layout 1001 does not have; in it they read as NULL."""

TABLES = """
CREATE TABLE run (record BLOB NOT NULL, crc INTEGER);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY, began TEXT NOT NULL, elapsed REAL NOT NULL,
    command TEXT NOT NULL, state TEXT NOT NULL, summary BLOB, crc INTEGER
);
CREATE TABLE planned (
    task TEXT, doc INTEGER, repeat INTEGER, prompt TEXT NOT NULL, budget INTEGER, terms TEXT,
    crc INTEGER, PRIMARY KEY (task, doc, repeat)
) WITHOUT ROWID;
CREATE TABLE calls (
    task TEXT, doc INTEGER, repeat INTEGER, kind TEXT, role TEXT, turn INTEGER, attempt INTEGER,
    done REAL NOT NULL, record BLOB NOT NULL, crc INTEGER
);
CREATE UNIQUE INDEX call_keys ON calls (task, doc, repeat, turn, kind, role, attempt);
CREATE TABLE decisions (
    sequence INTEGER PRIMARY KEY, task TEXT, doc INTEGER, repeat INTEGER, turn INTEGER,
    record BLOB NOT NULL, crc INTEGER
);
CREATE UNIQUE INDEX decision_keys ON decisions (task, doc, repeat, turn);
CREATE TABLE samples (
    task TEXT, doc INTEGER, repeat INTEGER, failed INTEGER NOT NULL, ended REAL NOT NULL,
    record BLOB NOT NULL, crc INTEGER
);
CREATE UNIQUE INDEX sample_keys ON samples (task, doc, repeat);
CREATE TABLE metrics (at REAL NOT NULL, engine TEXT NOT NULL, figures BLOB NOT NULL, crc INTEGER);
"""

encode = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(CallRecord).decode
decode_call_figures = msgspec.msgpack.Decoder(CallFigures).decode
decode_decision = msgspec.msgpack.Decoder(DecisionRecord).decode
decode_sample = msgspec.msgpack.Decoder(SampleRecord).decode
decode_sample_figures = msgspec.msgpack.Decoder(SampleFigures).decode
decode_run = msgspec.msgpack.Decoder(RunRecord).decode


def decode_summary(blob: bytes | None) -> dict[str, Any]:
    """How a session ended; empty while it has not."""
    return {} if blob is None else msgspec.msgpack.decode(blob, type=dict[str, Any])


def decode_figures(blob: bytes) -> dict[str, float]:
    """An engine's own figures."""
    return msgspec.msgpack.decode(blob, type=dict[str, float])


DECODE: dict[Table, Callable[[Any], Any]] = {
    "run": decode_run,
    "sessions": decode_summary,
    "calls": decode_call,
    "decisions": decode_decision,
    "samples": decode_sample,
    "metrics": decode_figures,
}
"""What the last column of a table says."""


def insert(table: Table, verb: str = "INSERT") -> str:
    """The statement that adds a sealed row."""
    marks = ", ".join("?" * (len(COLUMNS[table]) + 1))
    return f"{verb} INTO {table} ({', '.join(COLUMNS[table])}, crc) VALUES ({marks})"


INSERT: dict[Table, str] = {
    **{table: insert(table) for table in COLUMNS},
    "samples": insert("samples", "INSERT OR REPLACE"),  # again when an answer is extracted later
    "planned": insert("planned", "INSERT OR REPLACE"),
}


def checksum(row: Sequence[Any]) -> int:
    """CRC-32 of a row's columns.

    Args:
        row: values as SQLite gives them back: text, bytes, None, integers, and floats for REAL.
    """
    return zlib.crc32(encode(row))


def sealed(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row with its checksum."""
    return (*row, checksum(row))


def create(connection: sqlite3.Connection) -> None:
    """Lay out an empty database, in one transaction."""
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN; {TABLES} {pragmas} COMMIT;")


def is_empty(connection: sqlite3.Connection) -> bool:
    """True for a database in which nothing was ever created."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The layout of a journal that this release can read.

    Raises:
        RunDirError: it is not a journal, or a newer release wrote it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RunDirError(f"run_dir: {path} is not a journal of this project; use another run_dir")
    if version not in (WITHOUT_CHECKSUMS, VERSION):
        raise RunDirError(
            f"run_dir: {path} has schema version {version}, and this release reads up to "
            f"{VERSION}; use the release that wrote it, another run_dir, or resume=false"
        )
    return int(version)


def explain(error: Exception, path: Path) -> RunDirError:
    """A storage error as one clear line."""
    text = str(error)
    if "full" in text or "No space left" in text or getattr(error, "errno", None) == 28:
        reason = "no space left; free some and run the same command again"
    elif "readonly" in text or "Permission denied" in text or "Read-only" in text:
        reason = "no permission to write; use another run_dir or change its permissions"
    elif "unable to open" in text:
        reason = "cannot be opened for writing; does it exist, and may you write there?"
    elif "malformed" in text or "corrupt" in text:
        reason = f"damaged ({text}); restore it from a copy, or use another run_dir or resume=false"
    elif "not a database" in text:
        reason = f"not a readable journal ({text}); use another run_dir, or resume=false"
    elif "locked" in text:
        reason = "another process holds the journal; wait for it or use another run_dir"
    else:
        reason = text
    return RunDirError(f"run_dir: {path}: {reason} (what was committed is kept)")
