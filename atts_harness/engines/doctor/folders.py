"""Checks the place of a run directory: its file system, its free space, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from atts_harness.engines.doctor.finding import Finding, Level
from atts_harness.errors import SettingError
from atts_harness.journal.filesystem import Lasting, file_system

LITTLE_BYTES = 1 << 30
LEVELS: dict[Lasting, Level] = {
    "local": "ok",
    "network": "error",
    "memory": "warning",
    "container": "note",
    "unknown": "note",
}


def is_folder(argument: str) -> bool:
    """Whether an argument names a folder, and not a server's address."""
    return not re.match(r"[a-zA-Z][\w+.-]*://", argument) and (
        Path(argument).exists() or not re.search(r":\d+", argument)
    )


def examine_folder(path: Path) -> Iterator[Finding]:
    """Findings on a folder that holds a run, or will hold one.

    Raises:
        SettingError: it is a file, or cannot be read.
    """
    if path.exists() and not path.is_dir():
        raise SettingError(f"{path}: is a file; give a run directory, or the URL of a server")
    try:
        system = file_system(path)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror or error}; give another folder") from error
    if not path.exists():
        yield Finding("note", "folder", "is not there yet; a run makes it")
    yield Finding(LEVELS[system.lasting], "file system", str(system), system.remedy)
    free = f"{system.free / (1 << 30):.1f} GiB free"
    if system.free < LITTLE_BYTES:
        yield Finding("warning", "space", free, "a run that fills the disk ends; make room first")
    else:
        yield Finding("ok", "space", free)
