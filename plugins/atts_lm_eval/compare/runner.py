"""Runs the cells of a plan, one after the other, so that nothing of one is in the times of another.

A failed cell does not stop the others. What is done stays done: the same command again runs what
is missing, and a cell that was cut short goes on where its journal ends.
"""

from __future__ import annotations

import datetime
import fnmatch
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness._version import __version__
from atts_harness.errors import SAMPLES_FAILED, AttsError, UnknownSettingError
from atts_harness.running.interrupts import handled
from atts_lm_eval.compare import calibrations
from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.commands import headline, lm_eval_command, newest_results
from atts_lm_eval.compare.plan import Plan
from atts_lm_eval.compare.process import ATTS, Ended, Process, cause
from atts_lm_eval.compare.servers import Servers, clear_caches
from atts_lm_eval.compare.show import Show
from atts_lm_eval.compare.status import CELL, CellStatus, Folder, Status


class CellFailedError(AttsError):
    """A step of a cell failed; the message is the cause, in a line."""


class Runner:
    """Runs what of a plan is not done.

    Args:
        plan: what holds for every cell.
        cells: of the plan, in the order in which they are to run.
        folder: the comparison's, locked.
        status: what is known of the cells; kept up to date in the folder.
        show: tells people how it goes.

    Attributes:
        signals: those that came; after the first nothing new is started.
    """

    def __init__(
        self, plan: Plan, cells: Sequence[Cell], folder: Folder, status: Status, show: Show
    ) -> None:
        self._plan = plan
        self._cells = cells
        self._folder = folder
        self._status = status
        self._show = show
        self._process: Process | None = None
        self._servers: Servers | None = None
        self._bad_banks: dict[str, str] = {}
        self.signals: list[int] = []

    def run(self) -> None:
        """Run every cell that is not done; Ctrl-C ends it with the running one wound down.

        Raises:
            RunDirError: the status cannot be written.
        """
        with handled(self._stop, self._show.say) as self.signals:
            try:
                for pair in dict.fromkeys(cell.pair for cell in self._cells):
                    self._run_pair(pair)
            except KeyboardInterrupt:  # the second signal
                for known in self._status.cells:
                    if known.state == "running":
                        known.state = "interrupted"
            finally:
                self._folder.write(self._status)

    def _run_pair(self, pair: str) -> None:
        cells = [cell for cell in self._cells if cell.pair == pair]
        left = [cell for cell in cells if self._status.cell(cell.name).state != "done"]
        folder = self._folder.path / "servers" / pair
        self._servers = Servers(left, folder, self._show.say)
        try:
            for cell in left:
                if self.signals:
                    return
                self._run_cell(cell, self._servers)
        finally:
            self._servers.stop()

    def _run_cell(self, cell: Cell, servers: Servers) -> None:
        known = self._status.cell(cell.name)
        known.cause = ""
        needed = None if cell.needs is None else self._status.cell(cell.needs)
        if needed is not None and needed.state != "done":
            known.state = "skipped"
            known.cause = f"needs {needed.name}, which is not done ({needed.state})"
            self._show.ended(known, 0.0)
            self._folder.write(self._status)
            return
        self._note_start(known)
        ended = Ended(1, 0.0)
        try:
            ended = self._lm_eval(cell, known, servers)
            if ended.status and not self.signals:
                known.cause = cause(self._path(known.log), ended.status)
        except AttsError as error:
            known.cause = str(error)
        known.exit_status = ended.status
        known.seconds += ended.seconds
        known.state = self._state(known, ended)
        self._show.ended(known, ended.seconds)
        self._save(known)

    def _note_start(self, known: CellStatus) -> None:
        places = [cell.place for cell in self._status.cells if cell.place is not None]
        known.state = "running"
        known.place = max(places, default=-1) + 1
        known.starts += 1
        known.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        known.harness = __version__
        self._show.started(known)
        self._save(known)

    def _save(self, known: CellStatus) -> None:
        """The status; and what of it concerns a cell beside its run, for whoever reads that."""
        self._folder.write(self._status)
        folder = self._path(known.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CELL).write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))

    def _lm_eval(self, cell: Cell, known: CellStatus, servers: Servers) -> Ended:
        """Everything that a cell needs, and the cell itself."""
        log = self._path(known.log)
        further = servers.settings(cell.strategy)
        args: dict[str, Any] = dict(further)
        if cell.calibrate is not None:
            args["bank"] = self._bank(cell, known, further)
        if cell.needs is not None:
            args["rate_of"] = str(self._path(self._status.cell(cell.needs).folder))
        # Last: calibration fills caches, too.
        known.caches = clear_caches({**cell.settings, **args, "strategy": cell.strategy})
        command = lm_eval_command(cell, self._plan, self._path(known.folder), args)
        known.command = shlex.join(["atts", *command[len(ATTS) :]])
        self._folder.write(self._status)
        return self._wait(Process(command, log))

    def _bank(self, cell: Cell, known: CellStatus, servers: dict[str, Any]) -> str:
        """The cell's bank, made now if nobody has made it."""
        made = calibrations.of_cell(cell, self._plan)
        known.calibration = known.calibration or made
        bank = self._path(made.bank)
        if bank.exists():
            return str(bank)
        if made.bank in self._bad_banks:
            raise CellFailedError(self._bad_banks[made.bank])
        self._show.say(f"{cell.name}: calibrating")
        log = self._path(known.log)
        ended = self._wait(calibrations.start(cell, self._plan, self._folder.path, log, servers))
        known.calibration.seconds += ended.seconds
        if ended.status or not bank.exists():
            self._bad_banks[made.bank] = f"calibration: {cause(log, ended.status)}"
            raise CellFailedError(self._bad_banks[made.bank])
        return str(bank)

    def _wait(self, process: Process) -> Ended:
        self._process = process
        if self.signals:  # it came while the process was being started
            process.wind_down()
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.kill()
            raise
        finally:
            self._process = None

    def _state(self, known: CellStatus, ended: Ended) -> Any:
        results = newest_results(self._path(known.folder))
        if ended.status in (0, SAMPLES_FAILED) and results is not None:
            known.results = str(results.relative_to(self._folder.path))
            found = headline(results)
            known.metric, known.accuracy = found or (None, None)
            return "done"
        if self.signals:
            known.cause = ""
            return "interrupted"
        if ended.status == 0 and not known.cause:
            known.cause = "it ended well and left no results file"
        return "failed"

    def _stop(self, why: str) -> None:
        if self._process is not None:
            self._process.wind_down()
        elif self._servers is not None and self._servers.process is not None:
            self._servers.process.wind_down()

    def _path(self, relative: str) -> Path:
        return self._folder.path / relative


def aside(folder: Path) -> Path:
    """Where cells go that are started afresh: beside the folder, where no report of it looks."""
    return folder.with_name(f"{folder.name}.aside")


def start_afresh(folder: Folder, status: Status | None, patterns: Sequence[str]) -> list[str]:
    """Forget cells, and those that take their rate from them; their folders are kept aside.

    Args:
        folder: the comparison's.
        status: as read from it.
        patterns: cells' names, with `*` for anything.

    Returns:
        The names of the cells.

    Raises:
        UnknownSettingError: a pattern that is no cell's.
    """
    if not patterns:
        return []
    known = [] if status is None else [*status.cells, *status.dropped]
    chosen: set[str] = set()
    for pattern in patterns:
        found = {cell.name for cell in known if fnmatch.fnmatchcase(cell.name, pattern)}
        if not found:
            raise UnknownSettingError(pattern, [cell.name for cell in known], where="--redo")
        chosen |= found
    chosen |= {cell.name for cell in known if cell.needs in chosen}
    assert status is not None
    for cell in known:
        old = folder.path / cell.folder
        if cell.name in chosen and old.exists():
            place = aside(folder.path) / cell.name
            number = 1
            while (new := place.with_name(f"{place.name}.{number}")).exists():
                number += 1
            new.parent.mkdir(parents=True, exist_ok=True)
            old.rename(new)
    status.cells = [cell for cell in status.cells if cell.name not in chosen]
    status.dropped = [cell for cell in status.dropped if cell.name not in chosen]
    folder.write(status)
    return sorted(chosen)
