"""The launcher contract: where the commands of a comparison run.

`atts compare` starts two kinds of commands: the servers of a pair, and one command for each cell,
with its calibration before it. A launcher finds places for them: on this machine, as subprocesses
(`local`), or elsewhere. A plugin announces one with the hook `atts_launchers`, and a plan names it.

A place holds an *engine set*: the servers of a pair, once, and one cell after the other that uses
them. A pair gets as many as there is room for. Commands are resumable: whatever ends one, the same
command goes on in its folder, and if its machine is gone, in another place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Command", "Job", "Launcher", "Needs", "Place", "ServerJob"]


@dataclass(frozen=True)
class Needs:
    """The needs of an engine set of a pair.

    Attributes:
        pair: its name.
        served: by role that needs a server the devices that its settings name (`0+1`, `cpu`);
            None: they name none.
        device: of cells that load models into their own process, as the settings name it; None:
            no cell does.
        shared: whether its engines are others' (`draft_url`), so that a second set is the same.
        beside: number of its cells that run at a time on a set.
    """

    pair: str
    served: Mapping[str, str | None] = field(default_factory=dict)
    device: str | None = None
    shared: bool = False
    beside: int = 1


@dataclass(frozen=True)
class Command:
    """A command to start.

    Attributes:
        arguments: of the `atts` command, without the program itself.
        pair: the pair whose servers it uses or starts.
        log: takes what it prints, behind what is there and a line `$ COMMAND`.
        folder: where it writes; it resumes from the files there.
        run_dir: the run directory in it, whose journal is to outlive the machine; None: it has
            none.
        reads: files and folders that it reads.
        environment: variables on top of this process's own.
        beside: how many commands of this pair run at a time, for sharing a machine's cores.
    """

    arguments: tuple[str, ...]
    pair: str
    log: Path
    folder: Path
    run_dir: Path | None = None
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


class Place(Protocol):
    """A place where the commands of an engine set run: a pair's servers, and cells that use them.

    Only `give_back` may wait for long.
    """

    @property
    def name(self) -> str:
        """The machine's name, for messages; "" for this machine, or while it is not known."""
        ...

    def ready(self) -> bool:
        """Whether commands can be started here now."""
        ...

    def lost(self) -> str | None:
        """Why nothing can run here any more, such as a lost machine; None if it can."""
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

    def give_back(self) -> None:
        """Stop what still runs here, and free the devices for others."""
        ...


class Launcher(Protocol):
    """Finds places for engine sets, here or elsewhere."""

    @property
    def name(self) -> str:
        """The launcher's name, as in a plan's `launcher`."""
        ...

    def begin(
        self, folder: Path, needs: Sequence[Needs], say: Callable[[str], None], address: str = ""
    ) -> None:
        """Get ready for a comparison, before anything of it is started.

        Args:
            folder: the comparison's.
            needs: of its pairs.
            say: called with a message for the user.
            address: the part of a plan's `launcher` after the name (`NAME=ADDRESS`).

        Raises:
            SettingError: a pair will never find a place.
        """
        ...

    def place(self, needs: Needs) -> Place | None:
        """A place for another engine set of a pair; None: there is no room now.

        A place may become ready later. Only one that is not is asked for at a time.
        """
        ...

    def lost(self) -> str | None:
        """Why nothing can be started any more (the cluster is gone), in words; None: it can."""
        ...

    def state(self) -> str:
        """The launcher's resources and how much of them is in use, as text; may be empty."""
        ...

    def end(self) -> None:
        """The comparison is over, or could not begin."""
        ...
