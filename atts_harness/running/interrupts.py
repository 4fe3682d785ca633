"""Ctrl-C and SIGTERM: once winds the run down, twice ends it at once."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from atts_harness.running.logs import redact

GRACE_SECONDS = 7.0
"""Seconds for calls in flight when a run is stopped; closing takes a few more."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def handle_signals(stop: Callable[[str], None], say: Callable[[str], None]) -> Iterator[list[int]]:
    """In this block the first signal calls `stop` and the second raises `KeyboardInterrupt`.

    Signals reach the main thread only; in any other thread this does nothing.

    Args:
        stop: called with the reason, the signal's name.
        say: called with a message for the user.

    Yields:
        The signals seen so far.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        name = signal.Signals(number).name
        if len(signals) > 1:
            raise KeyboardInterrupt(name)
        say(
            f"{name}: no new calls; finishing what is in flight "
            f"({GRACE_SECONDS:g} s at most; again: at once)"
        )
        stop(name)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            # None: it was not set from Python, and cannot be set back from here either.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def resume_hint(run_dir: str | None) -> str:
    """A line that tells the user how to continue the run."""
    if run_dir is None:
        return "nothing was saved; with run_dir=DIR an interrupted run can be continued"
    return f"to continue: {command_line()}"


def command_line() -> str:
    """The command that started this process, as one would type it; without what looks secret."""
    return redact(_command_line())


def _command_line() -> str:
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path("python")
    if "ipykernel" in str(program):
        return "run the same cell again"
    if shutil.which(program.name) is not None and not program.name.startswith("python"):
        return shlex.join([program.name, *sys.argv[1:]])
    return shlex.join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]])
