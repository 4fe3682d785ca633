"""The run directory's database: tables, versions, rows.

One SQLite file, `journal.sqlite3`, with a message-pack record in each row and its key in columns.
`PRAGMA application_id` says that it is ours, `PRAGMA user_version` which layout it has.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from atts_harness.errors import RunDirError
from atts_harness.records import (
    SCHEMA_VERSION,
    CallFigures,
    CallRecord,
    DecisionRecord,
    RunRecord,
    SampleFigures,
    SampleRecord,
)

JOURNAL = "journal.sqlite3"
APPLICATION_ID = 0x41545453  # "ATTS"
LAYOUT = 1
VERSION = LAYOUT * 1000 + SCHEMA_VERSION

TABLES = """
CREATE TABLE run (record BLOB NOT NULL);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY, began TEXT NOT NULL, elapsed REAL NOT NULL,
    command TEXT NOT NULL, state TEXT NOT NULL, summary BLOB
);
CREATE TABLE planned (
    task TEXT, doc INTEGER, repeat INTEGER, prompt TEXT NOT NULL,
    PRIMARY KEY (task, doc, repeat)
) WITHOUT ROWID;
CREATE TABLE calls (
    task TEXT, doc INTEGER, repeat INTEGER, kind TEXT, role TEXT, turn INTEGER, attempt INTEGER,
    done REAL NOT NULL, record BLOB NOT NULL
);
CREATE UNIQUE INDEX call_keys ON calls (task, doc, repeat, turn, kind, role, attempt);
CREATE TABLE decisions (
    sequence INTEGER PRIMARY KEY, task TEXT, doc INTEGER, repeat INTEGER, turn INTEGER,
    record BLOB NOT NULL
);
CREATE UNIQUE INDEX decision_keys ON decisions (task, doc, repeat, turn);
CREATE TABLE samples (
    task TEXT, doc INTEGER, repeat INTEGER, failed INTEGER NOT NULL, ended REAL NOT NULL,
    record BLOB NOT NULL
);
CREATE UNIQUE INDEX sample_keys ON samples (task, doc, repeat);
CREATE TABLE metrics (at REAL NOT NULL, engine TEXT NOT NULL, figures BLOB NOT NULL);
"""

encode = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(CallRecord).decode
decode_call_figures = msgspec.msgpack.Decoder(CallFigures).decode
decode_decision = msgspec.msgpack.Decoder(DecisionRecord).decode
decode_sample = msgspec.msgpack.Decoder(SampleRecord).decode
decode_sample_figures = msgspec.msgpack.Decoder(SampleFigures).decode
decode_run = msgspec.msgpack.Decoder(RunRecord).decode


def create(connection: sqlite3.Connection) -> None:
    """Lay out an empty database, in one transaction."""
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN; {TABLES} {pragmas} COMMIT;")


def is_empty(connection: sqlite3.Connection) -> bool:
    """True for a database in which nothing was ever created."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that this version can read the database.

    Raises:
        RunDirError: it is not a journal, or another version's.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RunDirError(f"run_dir: {path} is not a journal of this project; use another run_dir")
    if version != VERSION:
        raise RunDirError(
            f"run_dir: {path} has schema version {version}, and this version of the harness reads "
            f"{VERSION}; use the harness that wrote it, another run_dir, or resume=false"
        )


def explain(error: Exception, path: Path) -> RunDirError:
    """A storage error as one clear line."""
    text = str(error)
    if "full" in text or "No space left" in text or getattr(error, "errno", None) == 28:
        why = "no space left; free some and run the same command again"
    elif "readonly" in text or "Permission denied" in text or "Read-only" in text:
        why = "no permission to write; use another run_dir or change its permissions"
    elif "unable to open" in text:
        why = "cannot be opened for writing; does it exist, and may you write there?"
    elif "not a database" in text or "malformed" in text:
        why = f"not a readable journal ({text}); use another run_dir, or resume=false"
    elif "locked" in text:
        why = "another process holds the journal; wait for it or use another run_dir"
    else:
        why = text
    return RunDirError(f"run_dir: {path}: {why} (what was committed is kept)")
