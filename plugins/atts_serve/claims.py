"""Ids of requests: the same id of the same client is the same request, also after a restart."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
import time
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from atts_harness.errors import RunDirError
from atts_harness.private import append_to
from atts_serve.refusal import bad, conflict

FILE = "requests.sqlite3"
LONGEST_ID = 200
MOST_IN_MEMORY = 10_000
LAYOUT = """
CREATE TABLE IF NOT EXISTS salt (value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    id BLOB PRIMARY KEY, owner BLOB NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Claim(NamedTuple):
    """A request by its id.

    Attributes:
        name: digest of the id and of the client's key.
        created: when it came first, in seconds since 1970.
    """

    name: str
    created: int


class Claims:
    """Remembers the request of each id. Only digests of ids and keys are kept.

    Args:
        folder: where; None: in memory, the last 10,000.

    Raises:
        RunDirError: the file cannot be used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._memory: OrderedDict[bytes, tuple[bytes, str, int]] = OrderedDict()
        self._database: sqlite3.Connection | None = None
        self._salt = secrets.token_bytes(16)
        if folder is not None:
            path = folder / FILE
            try:
                os.close(append_to(path))
                self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.executescript(LAYOUT)
                row = self._database.execute("SELECT value FROM salt").fetchone()
                if row is None:
                    self._database.execute("INSERT INTO salt VALUES (?)", (self._salt,))
                else:
                    self._salt = row[0]
            except (OSError, sqlite3.Error) as error:
                raise RunDirError(f"run_dir: {path} cannot be used: {error}") from error

    def claim(self, id_: str, owner: str, body: str) -> Claim:
        """Take an id for a request, or find the request that has it.

        Args:
            id_: what the client calls the request.
            owner: the client's key; empty where none is needed.
            body: digest of what is asked.

        Raises:
            Refusal: the id belongs to another request, or is not valid.
            RunDirError: the file cannot be written.
        """
        if not id_.isascii() or not id_.isprintable() or len(id_) > LONGEST_ID:
            raise bad(f"Idempotency-Key: at most {LONGEST_ID} printable ASCII characters")
        key, whose = self._digest(id_), self._digest(owner)
        row, created = self._find(key), int(time.time())
        if row is None:
            self._add(key, (whose, body, created))
        elif row[:2] != (whose, body):
            raise conflict("Idempotency-Key: it was used for another request")
        else:
            created = row[2]
        return Claim(f"{key.hex()}{whose.hex()}", created)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16, salt=self._salt).digest()

    def _find(self, key: bytes) -> tuple[bytes, str, int] | None:
        if self._database is None:
            return self._memory.get(key)
        try:
            query = "SELECT owner, body, created FROM requests WHERE id = ?"
            row = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error as error:
            raise RunDirError(f"run_dir: {FILE} cannot be read: {error}") from error
        return None if row is None else (bytes(row[0]), row[1], row[2])

    def _add(self, key: bytes, row: tuple[bytes, str, int]) -> None:
        if self._database is None:
            self._memory[key] = row
            if len(self._memory) > MOST_IN_MEMORY:
                self._memory.popitem(last=False)
            return
        try:
            self._database.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", (key, *row))
        except sqlite3.Error as error:
            raise RunDirError(f"run_dir: {FILE} cannot be written: {error}") from error
