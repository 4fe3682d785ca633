"""Runs one server and outlives the run by just long enough to stop it.

A script of its own (standard library only), started by `servers.start` with a pipe on its
standard input. It stops the server when the pipe closes, when its parent is gone (killed with
SIGKILL, or crashed), or when it gets a signal. Then it makes sure that no descendant of the server
is left: engines start workers, and a worker that survives keeps a device's memory.

    python guardian.py GRACE_SECONDS COMMAND...
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CANNOT_START = 127


def main(grace: float, command: list[str]) -> int:
    """Run `command` until it ends or must end; its exit status, 127 if it cannot be started."""
    parent = os.getppid()
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: signals.append(received))
    # Orphaned workers of the server become our children, so they can be found and stopped.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return CANNOT_START
    open_pipe = True
    while server.poll() is None:
        ready = select.select([0] if open_pipe else [], [], [], POLL_SECONDS)[0]
        if ready and not os.read(0, 4096):
            open_pipe = False
        if not open_pipe or signals or os.getppid() != parent:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(grace)
            break
    _kill_descendants(grace)
    status = server.wait()
    return 128 - status if status < 0 else status  # a signal, reported as shells do


def _kill_descendants(limit: float) -> None:
    deadline = time.monotonic() + limit
    while survivors := _descendants(os.getpid()):
        for pid in survivors:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _descendants(root: int) -> list[int]:
    """Living processes below `root`; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything, so count from its end.
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:
            continue  # ended meanwhile
        state, parent = fields.split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    pids: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        pids += below
        queue += below
    return pids


def _die_with_parent() -> None:
    # Should this guardian itself be killed, the server goes with it.
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
