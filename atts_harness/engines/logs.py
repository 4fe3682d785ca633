"""Log files of servers that we start: in the run directory, or in a temporary folder."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from pathlib import Path

from atts_harness.backend import BackendOptions, BackendSpec

_PREFIX = "atts-servers-"


def log_of(spec: BackendSpec[BackendOptions], engine: str) -> Path:
    """File for a server's output: in the run directory, else in a temporary folder.

    The folder's name cannot be guessed; it is made when the server starts.
    """
    if spec.run_dir:
        folder = Path(spec.run_dir) / "logs"
    else:
        folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(16)}"
    return folder / f"{spec.role}-{engine}.log"


def remove_own(log: Path) -> None:
    """Remove a log with its temporary folder; a log in a run directory stays."""
    folder = log.parent
    if folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith(_PREFIX):
        with contextlib.suppress(OSError):  # somebody tidied up, or put something beside it
            log.unlink(missing_ok=True)
            folder.rmdir()
