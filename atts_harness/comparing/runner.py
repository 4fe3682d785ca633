"""Runs the cells of a plan, by default one after the other, so that none is in another's times.

A failed cell does not stop the others. What is done stays done: the same command again runs what
is missing, and a cell that was cut short goes on where its journal ends.
"""

from __future__ import annotations

import datetime
import fnmatch
import shlex
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness._version import __version__
from atts_harness.comparing import calibrations
from atts_harness.comparing.caches import clear_caches
from atts_harness.comparing.causes import cause
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.rounds import next_round
from atts_harness.comparing.servers import POLL_SECONDS, Servers
from atts_harness.comparing.show import Show
from atts_harness.comparing.status import CELL, CellStatus, Folder, State, Status
from atts_harness.comparing.watch import Watch
from atts_harness.errors import SAMPLES_FAILED, AttsError, UnknownSettingError
from atts_harness.framework import EvalFramework
from atts_harness.launcher import Command, Job, Launcher
from atts_harness.running.interrupts import handled


class CellFailedError(AttsError):
    """A step of a cell failed; the message is the cause, in a line."""


Steps = Generator[None, None, int]
"""The steps of a cell: yields whenever it has to wait, returns the exit status."""


class Runner:
    """Runs what of a plan is not done.

    One thread looks after everything. Every running cell is a generator that is resumed in turn,
    and yields where it has to wait.

    Args:
        plan: what holds for every cell.
        cells: of the plan, in the order in which they are to run.
        folder: the comparison's, locked.
        status: what is known of the cells; kept up to date in the folder.
        show: tells people how it goes.
        framework: knows what a cell runs.
        launcher: knows where.

    Attributes:
        signals: those that came; after the first nothing new is started.
    """

    def __init__(
        self,
        plan: Plan,
        cells: Sequence[Cell],
        folder: Folder,
        status: Status,
        show: Show,
        framework: EvalFramework,
        launcher: Launcher,
    ) -> None:
        self._plan = plan
        self._known = {cell.name: cell for cell in status.cells}
        self._left = [cell for cell in cells if self._known[cell.name].state != "done"]
        self._folder = folder
        self._status = status
        self._show = show
        self._framework = framework
        self._launcher = launcher
        self._running: dict[str, _Running] = {}
        self._servers: dict[str, Servers] = {}
        self._banks: dict[str, Job] = {}
        self._bad_banks: dict[str, str] = {}
        self.signals: list[int] = []

    def run(self) -> None:
        """Run every cell that is not done; Ctrl-C ends it with the running ones wound down.

        Raises:
            RunDirError: the status cannot be written.
        """
        with handled(self._stop, self._show.say) as self.signals, self._show.watching():
            try:
                while self._advance():
                    if self._show.wants_progress:
                        self._show.progress(self._progress())
                    time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:  # the second signal
                for running in self._running.values():
                    self._known[running.cell.name].state = "interrupted"
                for job in self._jobs():
                    job.kill()
            finally:
                for servers in self._servers.values():
                    servers.stop()
                self._folder.write(self._status)

    def _advance(self) -> bool:
        """Start what can start, and look after what runs; False once nothing is left."""
        if not self.signals:
            for cell in self._startable():
                self._left.remove(cell)
                self._start(cell)
        for running in list(self._running.values()):
            self._resume(running)
        pairs = {running.cell.pair for running in self._running.values()}
        pairs |= set() if self.signals else {cell.pair for cell in self._left}
        for pair in self._servers.keys() - pairs:
            self._servers.pop(pair).stop()
        return bool(pairs)

    def _progress(self) -> list[str]:
        """A line for each cell that runs and of which something is known."""
        return [
            f"{running.cell.name}: {what}{told}"
            for running in self._running.values()
            for what, watch in running.watched
            if (told := watch.line())
        ]

    def _startable(self) -> Iterator[Cell]:
        """Cells that may start now: not too many of a pair, nor pairs, and what they need ended."""
        pairs, parallel = self._launcher.pairs_at_once, self._plan.parallel
        if len(self._running) >= pairs * parallel:
            return
        counts = Counter(running.cell.pair for running in self._running.values())
        awaited = {cell.name for cell in self._left} | self._running.keys()
        for cell in list(self._left):
            room = counts[cell.pair] < parallel if cell.pair in counts else len(counts) < pairs
            if room and cell.needs not in awaited:
                counts[cell.pair] += 1
                yield cell

    def _needed(self, cell: Cell) -> CellStatus | None:
        return None if cell.needs is None else self._known[cell.needs]

    def _start(self, cell: Cell) -> None:
        known = self._known[cell.name]
        known.cause = ""
        needed = self._needed(cell)
        if needed is not None and needed.state != "done":
            known.state = "skipped"
            known.cause = f"needs {needed.name}, which is not done ({needed.state})"
            self._show.ended(known, 0.0)
            self._folder.write(self._status)
            return
        places = [cell.place for cell in self._status.cells if cell.place is not None]
        known.state = "running"
        known.place = max(places, default=-1) + 1
        known.starts += 1
        known.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        known.harness = __version__
        known.parallel = self._plan.parallel
        known.warm_up = cell.pair not in self._servers
        self._show.started(known)
        self._save(known)
        running = _Running(cell)
        running.steps = self._steps(running, known)
        self._running[cell.name] = running

    def _resume(self, running: _Running) -> None:
        """One more look at a cell, and what follows from its end."""
        known = self._known[running.cell.name]
        status = 1
        try:
            next(running.steps)
            return
        except StopIteration as ended:
            status = ended.value
            if status and not self.signals:
                known.cause = cause(self._path(known.log), status)
        except AttsError as error:
            known.cause = str(error)
        del self._running[running.cell.name]
        known.exit_status = status
        known.seconds += running.seconds
        known.state = self._state(known, status)
        self._show.ended(known, running.seconds)
        self._save(known)

    def _save(self, known: CellStatus) -> None:
        """The status; and what of it concerns a cell beside its run, for whoever reads that."""
        self._folder.write(self._status)
        folder = self._path(known.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CELL).write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))

    def _steps(self, running: _Running, known: CellStatus) -> Steps:
        """Everything that a cell needs, and the cell itself."""
        cell = running.cell
        servers = self._servers_of(cell.pair)
        while not servers.ready():
            yield
            if self.signals:
                return 1
        args: dict[str, Any] = dict(servers.settings(cell.kind.roles))
        reads: list[Path] = []
        if cell.calibrate is not None:
            bank = yield from self._bank(running, known, args)
            args["bank"] = str(bank)
            reads.append(bank)
        if cell.needs is not None:
            reads.append(self._path(self._known[cell.needs].folder))
            args["rate_of"] = str(reads[-1])
        # Last: calibration fills caches, too.
        settings = {**cell.settings, **args, "strategy": cell.strategy}
        known.caches = clear_caches(settings, beside=self._plan.parallel > 1)
        folder = self._path(known.folder)
        until, repeats = self._plan.until, known.repeats
        if until is not None and repeats is None:
            # One repeat says nothing of its own noise; a cell run again has as many as the first.
            base = None if cell.times_of is None else self._known[cell.times_of].repeats
            repeats = base or max(2, cell.task.repeats or 2)
        while True:
            asked = cell if repeats is None else cell.with_repeats(repeats)
            arguments = self._framework.command(asked.evaluation(self._plan, args), folder)
            known.command = shlex.join(["atts", *arguments])
            self._folder.write(self._status)
            job = self._launch(cell, known, arguments, folder, reads)
            running.watched = [("", Watch(folder))]
            began = time.monotonic()
            status = yield from self._ended(running, job)
            running.watched = []
            running.seconds += time.monotonic() - began
            if until is None or status or self.signals:
                return status
            known.repeats = repeats
            repeats, known.precision = next_round(folder, until)
            self._show.say(f"{cell.name}: {known.precision}")
            if repeats is None or cell.times_of is not None:
                return status

    def _bank(
        self, running: _Running, known: CellStatus, servers: Mapping[str, Any]
    ) -> Generator[None, None, Path]:
        """The cell's bank, made now if nobody has made it."""
        cell = running.cell
        made = calibrations.of_cell(cell, self._plan)
        known.calibration = known.calibration or made
        bank = self._path(made.bank)
        if bank.exists() and made.bank not in self._banks:
            return bank
        if made.bank in self._bad_banks:
            raise CellFailedError(self._bad_banks[made.bank])
        began = time.monotonic()
        mine = made.bank not in self._banks
        if mine:
            self._show.say(f"{cell.name}: calibrating")
            bank.parent.mkdir(parents=True, exist_ok=True)
            arguments = calibrations.calibrate_command(cell, self._plan, bank, servers)
            self._banks[made.bank] = self._launch(cell, known, arguments, bank.parent)
            running.watched = [("calibration: ", Watch(self._path(made.run_dir)))]
        status = yield from self._ended(running, self._banks[made.bank])
        running.watched = []
        if mine:
            known.calibration.seconds += time.monotonic() - began
            del self._banks[made.bank]
        if status or not bank.exists():
            if mine:
                why = cause(self._path(known.log), status)
                self._bad_banks[made.bank] = f"calibration: {why}"
            raise CellFailedError(self._bad_banks.get(made.bank, "calibration: it failed"))
        return bank

    def _launch(
        self,
        cell: Cell,
        known: CellStatus,
        arguments: Sequence[str],
        folder: Path,
        reads: Sequence[Path] = (),
    ) -> Job:
        return self._launcher.start(
            Command(
                arguments=tuple(arguments),
                pair=cell.pair,
                log=self._path(known.log),
                folder=folder,
                reads=tuple(reads),
                beside=self._plan.parallel,
            )
        )

    def _ended(self, running: _Running, job: Job) -> Steps:
        """Wait for a job's end."""
        running.job = job
        if self.signals:  # it came while the job was being started
            job.wind_down()
        while (status := job.poll()) is None:
            yield
        running.job = None
        return status

    def _servers_of(self, pair: str) -> Servers:
        if pair not in self._servers:
            running = [r.cell for r in self._running.values()]
            cells = [cell for cell in (*running, *self._left) if cell.pair == pair]
            folder = self._folder.path / "servers" / pair
            self._servers[pair] = Servers(cells, folder, self._launcher, self._show.say)
        return self._servers[pair]

    def _state(self, known: CellStatus, status: int) -> State:
        left = None
        if status in (0, SAMPLES_FAILED):
            left = self._framework.outcome(self._path(known.folder))
        if left is not None:
            known.results = str(left.results.relative_to(self._folder.path))
            known.metric, known.accuracy = left.metric, left.value
            return "done"
        if self.signals:
            known.cause = ""
            return "interrupted"
        if status == 0 and not known.cause:
            known.cause = "it ended well and left no results file"
        return "failed"

    def _stop(self, why: str) -> None:
        for job in self._jobs():
            job.wind_down()
        for servers in self._servers.values():
            if not servers.answer:
                servers.wind_down()

    def _jobs(self) -> list[Job]:
        """What runs; cells that wait for one calibration have one job."""
        jobs = [running.job for running in self._running.values() if running.job is not None]
        return list({id(job): job for job in jobs}.values())

    def _path(self, relative: str) -> Path:
        return self._folder.path / relative


class _Running:
    """A cell that runs: its steps, the job that it waits for, and the seconds of its evaluation."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.steps: Steps
        self.job: Job | None = None
        self.seconds = 0.0
        self.watched: list[tuple[str, Watch]] = []


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
