"""The driver's side of a host on a node: requests that never wait for an answer."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atts_harness.errors import RunDirError
from atts_ray.host import OUTPUT, Look

LOOK_SECONDS = 0.2


class RemoteHost:
    """A `host.Host` in an actor.

    If a call is lost with its node, `gone` says why; nothing here raises an error for it.

    Args:
        ray: the module.
        actor: the actor's handle.
        label: the node, for messages.
    """

    def __init__(self, ray: Any, actor: Any, label: str) -> None:
        self._ray = ray
        self._actor = actor
        self._label = label
        self._jobs: dict[int, RemoteJob] = {}
        self._looking: Any = None
        self._looked = 0.0
        self.gone: str | None = None

    def call(self, method: str, *values: Any, **named: Any) -> Any:
        """Ask for something; the reference to its answer."""
        return getattr(self._actor, method).remote(*values, **named)

    def answer(self, ref: Any) -> tuple[bool, Any]:
        """Whether an answer is there, and what it is; None where it never comes."""
        if self.gone is not None:
            return True, None
        ready, _ = self._ray.wait([ref], timeout=0)
        if not ready:
            return False, None
        errors = self._ray.exceptions
        try:
            return True, self._ray.get(ref)
        except errors.ActorUnavailableError:
            return True, None  # for a moment, or for good: the next call tells
        except errors.RayTaskError as error:  # the node's disk is full, say
            self.lose(str(error.cause))
            return True, None
        except (errors.RayActorError, errors.RaySystemError, errors.ObjectLostError) as error:
            self.lose(str(error))
            return True, None

    def lose(self, reason: str) -> None:
        """Note that the host is gone for good."""
        if self.gone is None:
            self.gone = f"{self._label} is gone ({_first_line(reason)})"

    def watch(self, number: int, job: RemoteJob) -> None:
        """Poll a command from now on."""
        self._jobs[number] = job

    def forget(self, number: int) -> None:
        """Poll it no longer, and remove its files from the node."""
        if self._jobs.pop(number, None) is not None and self.gone is None:
            self.call("forget", number)

    def look(self) -> None:
        """Ask how the commands stand: one request at a time, a few times a second."""
        if self.gone is not None:
            return
        if self._looking is not None:
            ready, looks = self.answer(self._looking)
            if not ready:
                return
            self._looking = None
            self._looked = time.monotonic()
            for number, look in (looks or {}).items():
                if number in self._jobs:
                    self._jobs[number].take_in(look)
        numbers = [number for number, job in self._jobs.items() if job.status is None]
        if numbers and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looking = self.call("look", numbers)


class RemoteJob:
    """A command on a node: its logs come as they are written, its files when it has ended.

    Args:
        host: where it runs.
        number: of the command there.
        log: takes what it prints.
        here: maps a file of the command to the driver's path; None: the driver does not need it.
        ended: called once, when everything is here.
    """

    def __init__(
        self,
        host: RemoteHost,
        number: int,
        log: Path,
        here: Callable[[str], Path | None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._number = number
        self._log = log
        self._here = here
        self._ended = ended
        self._over = False
        self._taking: Any = None
        self._taken = 0
        self._archive = log.with_name(f"{log.name}.tar")
        self.printed = b""
        self.status: int | None = None
        host.watch(number, self)

    def take_in(self, look: Look) -> None:
        """Store the news of a look: status and pieces of logs."""
        for name, piece in look.logs.items():
            path = self._log if name == OUTPUT else self._here(name)
            if name == OUTPUT:
                self.printed = (self.printed + piece)[-65536:]
            if path is not None:
                with _written(path), path.open("ab") as file:
                    file.write(piece)
        if look.status is not None:
            self.status = look.status

    def poll(self) -> int | None:
        """Its exit status, once folder and log are complete here; None: not yet."""
        self._host.look()
        if self._host.gone is not None:
            self._finish()
            return -9 if self.status is None else self.status
        if self.status is None or self._over:
            return self.status
        return self.status if self._collected() else None

    def wind_down(self) -> None:
        """Ask it to stop."""
        if not self._over:
            self._host.call("wind_down", self._number)

    def kill(self) -> None:
        """Stop it and everything that it started, now."""
        if not self._over:
            self._host.call("kill", self._number)
            self._finish()

    def _collected(self) -> bool:
        """Whether all of its files are here; asks for the next piece."""
        if self._taking is None:
            self._archive.unlink(missing_ok=True)
            self._taking = self._host.call("take", self._number, 0)
            return False
        ready, piece = self._host.answer(self._taking)
        if not ready:
            return False
        if piece is None:  # an answer that was lost on its way is asked for again
            self._taking = self._host.call("take", self._number, self._taken)
            return False
        if piece:
            with _written(self._archive), self._archive.open("ab") as file:
                file.write(piece)
            self._taken += len(piece)
            self._taking = self._host.call("take", self._number, self._taken)
            return False
        self._unpack()
        self._finish()
        return True

    def _unpack(self) -> None:
        if not self._archive.exists():
            return
        with tarfile.open(self._archive) as archive:
            for member in archive:
                path = self._here(member.name) if member.isfile() else None
                source = None if path is None else archive.extractfile(member)
                if path is None or source is None:
                    continue
                partial = path.with_name(f"{path.name}.new")
                with _written(path), source, partial.open("wb") as file:
                    shutil.copyfileobj(source, file)
                    partial.replace(path)
        self._archive.unlink()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._archive.unlink(missing_ok=True)
            self._host.forget(self._number)
            self._ended()


class RemoteServers:
    """The servers of an engine set, one actor for each.

    Args:
        jobs: by role its `atts serve-models`.
        announced: the settings that such a command has printed; None: not yet.
    """

    def __init__(
        self,
        jobs: Mapping[str, RemoteJob],
        announced: Callable[[bytes], Mapping[str, str] | None],
    ) -> None:
        self._jobs = jobs
        self._announced = announced

    def addresses(self) -> Mapping[str, str] | None:
        """`model_args` that reach all of them; None: not yet."""
        announced: dict[str, str] = {}
        for job in self._jobs.values():
            job.poll()
            of_job = self._announced(job.printed)
            if of_job is None:
                return None
            announced |= of_job
        return announced

    def poll(self) -> int | None:
        """The status of the first that has ended, once the others have too."""
        statuses = [job.poll() for job in self._jobs.values()]
        ended = [status for status in statuses if status is not None]
        if ended and len(ended) < len(statuses):
            self.wind_down()
            return None
        return max(ended, key=abs) if ended else None

    def wind_down(self) -> None:
        """Ask them to stop."""
        for job in self._jobs.values():
            job.wind_down()

    def kill(self) -> None:
        """Stop them now."""
        for job in self._jobs.values():
            job.kill()


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Make the folder of a file, and turn errors of writing it inside into one line.

    Raises:
        RunDirError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunDirError(f"out: {path}: {reason}; the same command goes on") from error


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "node" in line.lower() or "died" in line.lower()]
    return (telling or lines or ["no reason is given"])[0][:200]
