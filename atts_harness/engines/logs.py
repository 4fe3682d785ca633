"""Where servers of ours write: the run directory, or a folder that goes when nobody needs it."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from pathlib import Path

from atts_harness.backend import BackendOptions, BackendSpec

_PREFIX = "atts-servers-"


def log_of(spec: BackendSpec[BackendOptions], engine: str) -> Path:
    """File for a server's output: in the run directory, else in a folder of its own.

    Nobody can foresee that folder's name; it is made when the server starts.
    """
    if spec.run_dir:
        folder = Path(spec.run_dir) / "logs"
    else:
        folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(16)}"
    return folder / f"{spec.role}-{engine}.log"


def remove_own(log: Path) -> None:
    """Remove a log with the folder of its own; one in a run directory is part of the run."""
    folder = log.parent
    if folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith(_PREFIX):
        with contextlib.suppress(OSError):  # somebody tidied up, or put something beside it
            log.unlink(missing_ok=True)
            folder.rmdir()
