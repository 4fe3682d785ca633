"""One command as a subprocess: its output in a log, signals passed on, its failure in a line."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 5.0
TAIL_BYTES = 65536
LONGEST_CAUSE = 240
PR_SET_PDEATHSIG = 1
ATTS = (sys.executable, "-m", "atts_harness")
# What a program says of its end, as opposed to what else stands last in its output.
_TELLING = re.compile(r"^lm_eval: |^atts: error: |^[\w.]*(?:Error|Exception|Interrupt)\b")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status; negative: the signal that ended it.
        seconds: what it took.
    """

    status: int
    seconds: float


class Process:
    """A running command in a session of its own: Ctrl-C reaches it through us, once.

    Args:
        command: what to run.
        log: takes its output, behind what is there.
        env: variables on top of this process's own.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        with log.open("ab") as out:
            out.write(f"$ {shlex.join(command)}\n".encode())
            out.flush()
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def wait(self) -> Ended:
        """Wait for its end."""
        return Ended(self.popen.wait(), time.monotonic() - self._began)

    def wind_down(self) -> None:
        """Ask it to stop: a run finishes what is in flight and can be resumed."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Stop it now: a second signal, and soon the hard one for all that it started."""
        self.wind_down()
        try:
            self.popen.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


def cause(log: Path, status: int) -> str:
    """Why a command failed, in a line: the last one of its log that tells.

    Args:
        log: what it printed.
        status: its exit status.
    """
    lines = [line for line in map(str.strip, _tail(log)) if line]
    telling = [line for line in lines if _TELLING.search(line)]
    last = re.sub(r"^(?:lm_eval|atts): (?:error: )?", "", (telling or lines or [""])[-1])
    if status < 0 and not telling:
        last = f"ended by {signal.Signals(-status).name}" + (f": {last}" if last else "")
    if not last:
        last = f"ended with status {status} and printed nothing"
    return last if len(last) <= LONGEST_CAUSE else last[: LONGEST_CAUSE - 1] + "…"


def _tail(log: Path) -> list[str]:
    """The end of a log, from the last start on."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    return lines[starts[-1] + 1 :] if starts else lines


def _end_with_parent() -> None:
    """Should we be killed, a cell winds down as if it had been interrupted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
