"""What runs on a node: an actor that starts commands there and gives back what they leave.

Each command has a folder of its own on the node's disk, laid out as the driver's working directory
is, so that the same command line works in it. Nothing here imports Ray.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness.comparing import local
from atts_harness.journal.schema import JOURNAL

PIECE_BYTES = 1 << 22
PARENT_SECONDS = 1.0
GRACE_SECONDS = 15.0
MOST_LOG_BYTES = 1 << 20
OUTPUT = "output.txt"
"""What a command prints, in its folder."""
_PREFIX = "atts-ray-"
_LEFT_BEHIND = re.compile(rf"{_PREFIX}(\d+)-")
# What the driver has already, or has no use for.
_NOT_TAKEN = re.compile(rf"(.*\.log|lock|epoch|{re.escape(JOURNAL)}.*)")


@dataclass
class _Job:
    """A command.

    Attributes:
        folder: its working directory.
        process: None where it could not be started.
        sent: bytes that the driver has already, by log.
        packed: the files that it left, packed once it has ended.
    """

    folder: Path
    process: local.Process | None = None
    sent: dict[str, int] = field(default_factory=dict)
    packed: Path | None = None


@dataclass(frozen=True)
class Look:
    """State of a command on a node.

    Attributes:
        logs: by log what is new in it; the name is relative to the command's folder.
        status: its exit status; None while it runs.
    """

    logs: Mapping[str, bytes]
    status: int | None


class Host:
    """Starts commands on a node. A Ray actor is made of it; no method waits for long."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._closed = threading.Event()
        _tidy_up()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        watch = threading.Thread(target=self._go_with_parent, args=(os.getppid(),), daemon=True)
        watch.start()

    def devices(self) -> str:
        """The GPUs that this actor got, as `devices` has them; empty: none."""
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return "+".join(part.strip() for part in named.split(",") if part.strip() not in ("", "-1"))

    def prepare(self, job: int, folders: Sequence[str]) -> None:
        """Make a folder for a command, with these folders in it."""
        place = self._folder / str(job)
        for folder in (".", *folders):
            (place / folder).mkdir(parents=True, exist_ok=True)
        self._jobs[job] = _Job(place)

    def put(self, job: int, piece: bytes, *, last: bool) -> None:
        """Take a piece of a tar archive of what the command reads."""
        place = self._jobs[job].folder
        archive = place.with_suffix(".in.tar")
        with archive.open("ab") as file:
            file.write(piece)
        if last:
            with tarfile.open(archive) as packed:
                packed.extractall(place, filter="data")
            archive.unlink()

    def start(self, job: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a command; `look` says how it goes."""
        entry = self._jobs[job]
        command = [*local.ATTS, *arguments]
        entry.process = local.Process(command, entry.folder / OUTPUT, environment, cwd=entry.folder)

    def look(self, jobs: Sequence[int]) -> dict[int, Look]:
        """How commands stand, and what they have written into logs since the last look."""
        looks = {}
        for number in jobs:
            job = self._jobs[number]
            status = None if job.process is None else job.process.poll()
            looks[number] = Look(_new_bytes(job), status)
            if any(len(piece) == MOST_LOG_BYTES for piece in looks[number].logs.values()):
                looks[number] = Look(looks[number].logs, None)  # there is more to tell first
        return looks

    def wind_down(self, job: int) -> None:
        """Ask a command to stop."""
        if (process := self._jobs[job].process) is not None:
            process.wind_down()

    def kill(self, job: int) -> None:
        """Stop a command and everything that it started."""
        if job in self._jobs and (process := self._jobs[job].process) is not None:
            process.kill()

    def take(self, job: int, begin: int) -> bytes:
        """A piece of a tar archive of what a command left, from byte `begin` on; empty: the end."""
        entry = self._jobs[job]
        if entry.packed is None:
            entry.packed = entry.folder.with_suffix(".out.tar")
            with tarfile.open(entry.packed, "w") as archive:
                for path in sorted(entry.folder.rglob("*")):
                    if path.is_file() and not path.is_symlink() and _is_taken(path):
                        archive.add(path, str(path.relative_to(entry.folder)))
        with entry.packed.open("rb") as file:
            file.seek(begin)
            return file.read(PIECE_BYTES)

    def forget(self, job: int) -> None:
        """Remove a command and its folder: it has ended, and the driver has all of it."""
        entry = self._jobs.pop(job, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)
            if entry.packed is not None:
                entry.packed.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop everything, and leave nothing on the disk."""
        self._closed.set()
        for job in list(self._jobs):
            self.kill(job)
            self.forget(job)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _go_with_parent(self, parent: int) -> None:
        """End once the node's own process (the raylet) is gone, and everything here with it.

        Ray's workers do so by themselves, but one that was stopped meanwhile may miss it; what it
        started would keep devices.
        """
        while os.getppid() == parent:
            if self._closed.wait(PARENT_SECONDS):
                return
        for number in list(self._jobs):
            self.wind_down(number)
        deadline = time.monotonic() + GRACE_SECONDS
        running = [job.process for job in self._jobs.values() if job.process is not None]
        while time.monotonic() < deadline and any(process.poll() is None for process in running):
            time.sleep(PARENT_SECONDS)
        self.close()
        os._exit(1)


def pack(paths: Mapping[str, Path]) -> bytes:
    """A tar archive of files and folders, by their names on the node; logs are left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in paths.items():
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                if file.is_file() and not file.is_symlink() and file.suffix != ".log":
                    inner = file.relative_to(path) if path.is_dir() else Path()
                    archive.add(file, str(Path(name) / inner))
    return packed.getvalue()


def _is_taken(path: Path) -> bool:
    return path.name != OUTPUT and _NOT_TAKEN.fullmatch(path.name) is None


def _new_bytes(job: _Job) -> dict[str, bytes]:
    pieces = {}
    for path in [job.folder / OUTPUT, *job.folder.rglob("*.log")]:
        name = str(path.relative_to(job.folder))
        try:
            with path.open("rb") as file:
                file.seek(job.sent.get(name, 0))
                piece = file.read(MOST_LOG_BYTES)
        except OSError:
            continue  # not there yet
        if piece:
            job.sent[name] = job.sent.get(name, 0) + len(piece)
            pieces[name] = piece
    return pieces


def _tidy_up() -> None:
    """Remove what hosts left that were killed on this node."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = _LEFT_BEHIND.match(path.name)
        try:
            if owner is not None and path.stat().st_uid == os.geteuid():
                os.kill(int(owner[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
