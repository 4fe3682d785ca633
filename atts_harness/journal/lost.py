"""Notices that a journal's file was removed or renamed during a run, and saves its content.

SQLite goes on writing to a file that has no name any more, and all of it is gone when the process
ends. What was committed can still be read through the open connection, so it is copied.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from atts_harness.errors import JournalLostError


class FileWatch:
    """Knows whether a file is still the one that was opened.

    Args:
        path: of a file that is there.
        mirrored: whether a copy on another machine has every commit; then none is saved here.

    Raises:
        OSError: it is not.
    """

    def __init__(self, path: Path, *, mirrored: bool = False) -> None:
        self._path = path
        self._mirrored = mirrored
        self._is = _identity(path)

    def lost(self, connection: sqlite3.Connection) -> JournalLostError | None:
        """The error to end the run with if the file is gone, after saving a copy; else None."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._is:
                return None
        return JournalLostError(
            f"run_dir: {self._path} was removed or renamed while the run was writing to it; "
            f"{self._remedy(connection)}"
        )

    def _remedy(self, connection: sqlite3.Connection) -> str:
        if self._mirrored:
            return "the keeper of its journal has what was committed: the same command goes on"
        saved = _save(connection, self._path)
        if saved is None:
            return "and no copy of it could be written beside it, or move it back"
        return (
            f"what was committed is saved in {saved}: go on with run_dir={saved}, or move it back"
        )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def _save(connection: sqlite3.Connection, path: Path) -> Path | None:
    """Copy a database into a new folder beside its own."""
    folder, number = path.parent.with_name(f"{path.parent.name}-saved"), 1
    try:
        while folder.exists():
            number += 1
            folder = path.parent.with_name(f"{path.parent.name}-saved-{number}")
        folder.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(folder / path.name)) as copy:
            connection.backup(copy)
    except (OSError, sqlite3.Error):
        return None
    return folder
