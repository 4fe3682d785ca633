"""Why a command failed, in a line, from its log."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

TAIL_BYTES = 65536
LONGEST_CAUSE = 240
# Lines with which a program explains its end, unlike others at the end of its output.
_TELLING = re.compile(
    r"^[\w-]+: error: |\(exit status \d+\)$|^[\w.]*(?:Error|Exception|Interrupt)\b"
)
_PROGRAM = re.compile(r"^[\w-]+: error: |^[\w-]+: (?=.*\(exit status \d+\)$)")


def cause(log: Path, status: int) -> str:
    """Why a command failed: the last line of its log that gives a reason.

    Args:
        log: what it printed.
        status: its exit status.
    """
    lines = [line for line in map(str.strip, _tail(log)) if line]
    telling = [line for line in lines if _TELLING.search(line)]
    last = _PROGRAM.sub("", (telling or lines or [""])[-1])
    if status < 0 and not telling:
        last = f"ended by {signal.Signals(-status).name}" + (f": {last}" if last else "")
    if not last:
        last = f"ended with status {status} and printed nothing"
    return last if len(last) <= LONGEST_CAUSE else last[: LONGEST_CAUSE - 1] + "…"


def _tail(log: Path) -> list[str]:
    """The part of a log that the last start wrote."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    return lines[starts[-1] + 1 :] if starts else lines
