"""Checks where a run directory is: its file system, its free space, and what they mean."""

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


def is_folder(given: str) -> bool:
    """Whether an argument names a folder, and not a server's address."""
    return not re.match(r"[a-zA-Z][\w+.-]*://", given) and (
        Path(given).exists() or not re.search(r":\d+", given)
    )


def examine_folder(path: Path) -> Iterator[Finding]:
    """Findings on a folder that holds a run, or will hold one.

    Raises:
        SettingError: it is a file, or nobody may look there.
    """
    if path.exists() and not path.is_dir():
        raise SettingError(f"{path}: is a file; give a run directory, or the URL of a server")
    try:
        found = file_system(path)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror or error}; give another folder") from error
    yield Finding(LEVELS[found.lasting], "file system", str(found), found.remedy)
    free = f"{found.free / (1 << 30):.1f} GiB free"
    if found.free < LITTLE_BYTES:
        yield Finding("warning", "space", free, "a run that fills the disk ends; make room first")
    else:
        yield Finding("ok", "space", free)
