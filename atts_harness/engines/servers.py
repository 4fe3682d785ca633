"""Servers that a run starts: start one, wait for it, watch it, stop it however the run ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness import neutral
from atts_harness.engines import guardian
from atts_harness.engines.address import address
from atts_harness.engines.deaths import Cause, cause_of_death
from atts_harness.engines.logs import remove_own
from atts_harness.errors import (
    AttsError,
    BackendError,
    BackendUnavailableError,
    EngineGoneError,
    SettingError,
)
from atts_harness.private import append_to, make_folder

__all__ = ["Cause", "Launch", "Server", "check_port", "explain", "free_port", "start"]

logger = neutral.logger("atts_harness.engines")

GRACE_SECONDS = 8.0
POLL_SECONDS = 0.25
PORT_TRIES = 64
LOG_TAIL_BYTES = 65536


@dataclass(frozen=True)
class Launch:
    """How to start one server.

    Attributes:
        role: `draft` or `target`; errors name its settings.
        argv: the command.
        env: variables on top of this process's own.
        host: address it listens on.
        port: port it listens on.
        log: file that takes its output.
        causes: what its log may say when it dies, most telling first.
        timeout: seconds it may take to start.
        note: explains its sizes, for the log.
    """

    role: str
    argv: Sequence[str]
    host: str
    port: int
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    causes: Sequence[Cause] = ()
    timeout: float = 1800.0
    note: str = ""

    @property
    def url(self) -> str:
        """Address at which it answers."""
        return address(self.host, self.port)


class Server:
    """A running server of ours."""

    def __init__(
        self, launch: Launch, process: asyncio.subprocess.Process, log_start: int = 0
    ) -> None:
        self.launch = launch
        self._process = process
        self._log_start = log_start
        self._log_named = False

    @property
    def pid(self) -> int:
        """Process id of its guardian; the server is its child."""
        return self._process.pid

    @property
    def dead(self) -> bool:
        """Whether the server's process has ended."""
        return self._process.returncode is not None

    def explain(self) -> str:
        """One line that says why it died, from its log, and names the setting."""
        self._log_named = True
        return explain(self.launch, self._process.returncode, self._log_start)

    def name_log(self) -> Path:
        """The log's path, for an error that names it: the log stays when the server is stopped."""
        self._log_named = True
        return self.launch.log

    async def wait_ready(self, answers: Callable[[], Awaitable[object]]) -> None:
        """Wait until it answers a real request.

        Args:
            answers: sends a one-token request; raises `BackendError` while there is no answer.

        Raises:
            SettingError: it died (with the log's cause), or takes longer than `launch.timeout`.
        """
        deadline = time.monotonic() + self.launch.timeout
        last_error: AttsError | None = None
        while not self.dead:
            try:
                await asyncio.wait_for(answers(), max(1.0, deadline - time.monotonic()))
                return
            except (BackendError, TimeoutError) as error:
                last_error = error if isinstance(error, BackendError) else last_error
            if time.monotonic() > deadline:
                self._log_named = True
                raise SettingError(
                    f"{self.launch.role}_start_timeout: the server does not answer after "
                    f"{self.launch.timeout:g} s ({last_error}); see {self.launch.log}"
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), POLL_SECONDS)
        raise SettingError(self.explain())

    def check(self, error: BackendUnavailableError) -> AttsError:
        """`error`, or a final one if the server behind it is dead.

        The run then ends as with any engine that does not come back, and can be resumed.
        """
        return EngineGoneError(self.explain()) if self.dead else error

    async def stop(self) -> None:
        """Stop it and everything it started.

        Without a run directory its log is removed too, unless an error has named it.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2 * GRACE_SECONDS + 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if not self._log_named:
            remove_own(self.launch.log)


async def start(launch: Launch) -> Server:
    """Start a server; it is not yet ready.

    Raises:
        SettingError: the port is in use, or its log cannot be written.
    """
    check_port(launch)
    if launch.note:
        logger.info("%s", launch.note)
    try:
        make_folder(launch.log.parent)
        descriptor = append_to(launch.log)
    except OSError as error:
        raise SettingError(
            f"{launch.role}: the server's log {launch.log} cannot be written: "
            f"{error.strerror or error}; remove what stands there, or use another run_dir"
        ) from error
    with os.fdopen(descriptor, "ab") as log:
        log.seek(0, os.SEEK_END)
        log_start = log.tell()  # a resumed run writes on
        log.write((" ".join(launch.argv) + "\n").encode())
        log.flush()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            guardian.__file__,
            str(GRACE_SECONDS),
            *launch.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **launch.env},
            start_new_session=True,  # Ctrl-C goes to the run, which stops its servers in order
        )
    return Server(launch, process, log_start)


def check_port(launch: Launch) -> None:
    """Refuse a port that is in use.

    Raises:
        SettingError: names the port's setting.
    """
    with _socket(launch.host) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((launch.host, launch.port))
        except OSError as error:
            raise SettingError(
                f"{launch.role}_port: {launch.host}:{launch.port} cannot be used "
                f"({error.strerror}); choose another port, or leave it out for a free one"
            ) from error


def _socket(host: str) -> socket.socket:
    """A socket of the host's kind."""
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 20000
_reserved: set[int] = set()


def free_port(host: str) -> int:
    """A free port, reserved until its server is up.

    Engines take up to a minute until they listen, and meanwhile open ports of their own. So the
    port lies below those that the system assigns by itself, if it says which those are, and was
    never returned by this function before.

    Raises:
        SettingError: `host` is not an address of this machine.
    """
    with _socket(host) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise SettingError(f"host: cannot listen on {host!r}: {error.strerror}") from error
        any_free = int(probe.getsockname()[1])
    try:
        below = int(_EPHEMERAL.read_text().split()[0])
    except OSError:
        below = 0
    candidates = [port for port in range(_LOWEST_PORT, below) if port not in _reserved]
    for port in random.sample(candidates, min(len(candidates), PORT_TRIES)):
        with _socket(host) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue  # somebody's
        _reserved.add(port)
        return port
    return any_free


def explain(launch: Launch, status: int | None, log_start: int = 0) -> str:
    """Why a server died, in one line that names the setting, from the tail of its log.

    Args:
        launch: how it was started.
        status: its exit status.
        log_start: byte at which its part of the log begins.
    """
    setting, words = cause_of_death(_tail(launch.log, log_start), launch.causes, status)
    name = f"{launch.role}_{setting}" if setting else launch.role
    return f"{name}: the server {words} (log: {launch.log})"


def _tail(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(start, file.tell() - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
