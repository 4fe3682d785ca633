"""Helpers of the suites: the project's commands, and the embedded pair behind `serve-models`."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Only ends what hangs: on a machine that many share, starting a pair alone may take ten minutes.
PATIENCE = 3000


def command(*arguments: str, folder: Path) -> str:
    """What a command of this environment writes; it has to succeed.

    Its output also goes to a file, so that it can be read if the command does not end.
    """
    log = folder / f"{arguments[0]}-{arguments[1]}.log"
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    told = log.read_text()
    assert done.returncode == 0, told[-8000:]
    return told


def refused(url: str) -> bool:
    """Whether nobody listens there."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads started them."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        listed = [(thread / "children").read_text() for thread in threads]
    except OSError:
        return []  # ended meanwhile
    return [int(child) for text in listed for child in text.split()]


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    direct = children(pid)
    return [*direct, *(below for child in direct for below in descendants(child))]


def alive(pid: int) -> bool:
    """Whether a process runs still; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@dataclass(frozen=True)
class Pair:
    """A draft and a target that somebody serves.

    Attributes:
        process: `atts serve-models`.
        arguments: the settings that reach them, as it printed them.
    """

    process: subprocess.Popen[str]
    arguments: dict[str, str]

    @property
    def urls(self) -> list[str]:
        return [self.arguments["draft_url"], self.arguments["target_url"]]

    def model_args(self, *roles: str, **options: object) -> str:
        """`model_args` of a run that uses these roles."""
        reach = {k: v for k, v in self.arguments.items() if k.partition("_")[0] in roles}
        return ",".join(f"{name}={value}" for name, value in {**reach, **options}.items())


@contextlib.contextmanager
def served_pair(settings: str, folder: Path) -> Iterator[Pair]:
    """The embedded pair on servers of their own, as `atts serve-models` starts them.

    Afterwards it is told to stop, unless it is gone already, and has to leave nothing behind.
    """
    wanted = [f"preset=tiny,devices=cpu,{settings}", "--run-dir", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "atts_harness", "serve-models", *wanted],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.startswith("--model_args "):
                break
        found = re.search(r"^--model_args (.*)$", told, re.MULTILINE)
        assert found, f"{told}\n(logs: {folder})"
        pair = Pair(process, dict(part.split("=", 1) for part in found[1].split(",")))
        yield pair
    finally:
        alive = process.poll() is None
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
    assert status == 0 or not alive, f"serve-models ended with status {status}"
    assert all(map(refused, pair.urls))
