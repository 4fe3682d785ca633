"""Commands as subprocesses of this machine: output in a log, signals passed on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from atts_harness.arguments import parse_arguments
from atts_harness.errors import SettingError
from atts_harness.launcher import Command, Needs

GRACE_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
ATTS = (sys.executable, "-m", "atts_harness")
# How `atts serve-models` announces that its servers answer.
_ANNOUNCES = "--model_args "


class LocalLauncher:
    """An `atts_harness.launcher.Launcher`: this machine is one place, for one set at a time."""

    name = "local"

    def __init__(self) -> None:
        self._taken = False

    def begin(
        self, folder: Path, needs: Sequence[Needs], say: Callable[[str], None], address: str = ""
    ) -> None:
        """This machine is ready.

        Raises:
            SettingError: an address was given.
        """
        if address:
            raise SettingError(
                f"launcher: local is this machine and takes no address (got {address!r})"
            )
        self._taken = False

    def place(self, needs: Needs) -> LocalPlace | None:
        """This machine, unless it is taken."""
        if self._taken:
            return None
        self._taken = True
        return LocalPlace(self._free)

    def lost(self) -> str | None:
        """This machine is there."""
        return None

    def state(self) -> str:
        """Empty: this machine has no state to report."""
        return ""

    def end(self) -> None:
        """Do nothing: `begin` took nothing that must be released."""

    def _free(self) -> None:
        self._taken = False


class LocalPlace:
    """An `atts_harness.launcher.Place`: commands are subprocesses of this machine.

    Args:
        free: called when it is given back.
    """

    name = ""

    def __init__(self, free: Callable[[], None] = lambda: None) -> None:
        self._free = free

    def ready(self) -> bool:
        """True: this machine needs no start."""
        return True

    def lost(self) -> str | None:
        """None: this machine cannot be lost while we run."""
        return None

    def give_back(self) -> None:
        """Let another pair have it."""
        self._free()

    def start(self, command: Command) -> Process:
        """Start it; commands that run beside each other share the machine's cores."""
        environment = dict(command.environment)
        if command.beside > 1 and "OMP_NUM_THREADS" not in os.environ:
            threads = max(1, (os.cpu_count() or 1) // command.beside)
            environment["OMP_NUM_THREADS"] = str(threads)
        return Process([*ATTS, *command.arguments], command.log, environment)

    def serve(self, command: Command) -> ServerProcess:
        """Start the servers of a pair on this machine's devices."""
        return ServerProcess([*ATTS, *command.arguments], command.log, command.environment)


class Process:
    """A running command in its own process session, so that Ctrl-C reaches it once, through us.

    Args:
        command: what to run.
        log: its output is appended to this file.
        environment: variables on top of this process's own.
        cwd: where it runs; by default where this process does.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            out.write(f"$ {shlex.join(command)}\n".encode())
            out.flush()
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_begin,
            )

    def poll(self) -> int | None:
        """Its exit status, None while it runs; negative: the signal that ended it."""
        return self.popen.poll()

    def wind_down(self) -> None:
        """Ask it to stop: a run finishes what is in flight and can be resumed."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Stop it now: a second signal, and soon the hard one for all that it started."""
        if self.popen.poll() is not None:
            return
        self.wind_down()
        try:
            self.popen.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


class ServerProcess(Process):
    """A running `atts serve-models`."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._behind = log.stat().st_size if log.exists() else 0
        super().__init__(command, log, environment)

    def addresses(self) -> Mapping[str, str] | None:
        """The settings that it prints once its servers answer; None: not yet."""
        with self._log.open("rb") as file:
            file.seek(self._behind)
            printed = file.read()
        return announced(printed)


def announced(printed: bytes) -> dict[str, str] | None:
    """The settings that `atts serve-models` printed when its servers answered; None: not yet."""
    for line in printed.decode("utf-8", "replace").splitlines():
        if line.startswith(_ANNOUNCES):
            text = line.removeprefix(_ANNOUNCES)
            return {k: str(v) for k, v in parse_arguments(text, "serve-models").items()}
    return None


def _begin() -> None:
    """Run in the child: if the parent is killed, the child is interrupted and winds down."""
    # The process that started us may have blocked signals, and children inherit that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
