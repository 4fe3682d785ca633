"""The launcher contract: where the commands of a comparison run.

`atts compare` starts two kinds of commands: the servers of a pair, and one command for each cell,
with its calibration before it. A launcher starts them: as subprocesses of this machine (`local`),
or elsewhere. A plugin announces one with the hook `atts_launchers`, and a plan names it.

All commands of a pair must reach the pair's servers, so a launcher for several machines keeps a
pair together. Commands are resumable: whatever ends one, the same command goes on in its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Command", "Job", "Launcher", "ServerJob"]


@dataclass(frozen=True)
class Command:
    """A command to start.

    Attributes:
        arguments: of the `atts` command, without the program itself.
        pair: whose servers it uses, or starts.
        log: takes what it prints, behind what is there and a line `$ COMMAND`.
        folder: what it writes; it resumes from what is there.
        reads: files and folders that it reads.
        environment: variables on top of this process's own.
        beside: how many commands of this pair run at a time, for sharing a machine's cores.
    """

    arguments: tuple[str, ...]
    pair: str
    log: Path
    folder: Path
    reads: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    beside: int = 1


class Job(Protocol):
    """A command that was started. No method waits for long: one thread looks after all jobs."""

    def poll(self) -> int | None:
        """Its exit status, None while it runs; negative: the signal that ended it.

        As soon as there is a status, folder and log are complete on this machine.
        """
        ...

    def wind_down(self) -> None:
        """Ask it to stop, as Ctrl-C does: a run finishes what is in flight and can be resumed."""
        ...

    def kill(self) -> None:
        """Stop it and everything that it started, now. Does nothing to one that has ended."""
        ...


class ServerJob(Job, Protocol):
    """Servers that were started."""

    def addresses(self) -> Mapping[str, str] | None:
        """`model_args` that reach the servers from where the pair's cells run; None: not yet."""
        ...


class Launcher(Protocol):
    """Starts commands, here or elsewhere."""

    @property
    def name(self) -> str:
        """As a plan's `launcher` has it."""
        ...

    @property
    def pairs_at_once(self) -> int:
        """How many pairs may run at a time, each on devices of its own."""
        ...

    def start(self, command: Command) -> Job:
        """Start a cell or a calibration.

        Raises:
            SettingError: it cannot be started.
        """
        ...

    def serve(self, command: Command) -> ServerJob:
        """Start the servers of a pair (`atts serve-models`).

        Raises:
            SettingError: they cannot be started.
        """
        ...
