"""Runs the cells of a plan, by default one after the other, so that none is in another's times.

A failed cell does not stop the others. What is done stays done: the same command again runs what
is missing, and a cell that was cut short goes on where its journal ends.
"""

from __future__ import annotations

import datetime
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
from atts_harness.comparing.going import RunningCell, Steps
from atts_harness.comparing.needs import needs_of
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.reaching import reaching
from atts_harness.comparing.rounds import first_repeats, next_round
from atts_harness.comparing.servers import POLL_SECONDS
from atts_harness.comparing.sets import EngineSet, EngineSets
from atts_harness.comparing.show import Show
from atts_harness.comparing.status import CELL, CellStatus, Folder, State, Status
from atts_harness.comparing.watch import RunWatch
from atts_harness.errors import SAMPLES_FAILED, AttsError
from atts_harness.framework import EvalFramework
from atts_harness.launcher import Command, Job, Launcher
from atts_harness.running.interrupts import handled


class CellFailedError(AttsError):
    """A step of a cell failed; the message is the cause, in a line."""


MOST_LOSSES = 5
"""How often a cell may lose its machine before it counts as failed: it may be what kills them."""
NOTICE_SECONDS = 60.0
"""Losses of one machine that follow so closely are one."""


class PlanRunner:
    """Runs the cells of a plan that are not done yet.

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
        gone: why no cell can run anywhere any more; None: they can.
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
        self._needs = needs_of(self._left, plan)
        self._sets = EngineSets(self._needs, launcher, folder.path / "servers", show.say)
        self._running: dict[str, RunningCell] = {}
        self._losses: Counter[str] = Counter()
        self._lost: dict[str, tuple[str, float]] = {}  # the machine that counted last, and when
        self._banks: dict[str, Job] = {}
        self._bad_banks: dict[str, str] = {}
        self.signals: list[int] = []
        self.gone: str | None = None

    def run(self) -> None:
        """Run every cell that is not done; Ctrl-C ends it with the running ones wound down.

        Raises:
            SettingError: a pair will never find a place; nothing was started.
            RunDirError: the status cannot be written.
        """
        try:
            if self._left:
                self._launcher.begin(
                    self._folder.path, self._needs, self._show.say, self._plan.address
                )
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
                    self._sets.stop()
                    self._folder.write(self._status)
        finally:
            self._launcher.end()

    def _advance(self) -> bool:
        """Start what can start, and look after what runs; False once nothing is left."""
        self._see_what_is_gone()
        if not self._stopping:
            self._skip()
            self._sets.grow(self._left)
            for cell, where in self._startable():
                self._left.remove(cell)
                self._start(cell, where)
        for running in list(self._running.values()):
            self._resume(running)
        self._sets.shrink([] if self._stopping else self._left)
        return bool(self._running or (self._left and not self._stopping))

    @property
    def _stopping(self) -> bool:
        return bool(self.signals) or self.gone is not None

    def _see_what_is_gone(self) -> None:
        if self.gone is None and (why := self._launcher.lost()) is not None:
            self.gone = why
            self._stop(why)

    def _progress(self) -> list[str]:
        """A line for what there is, and for each cell that runs and of which something is known."""
        there = self._launcher.state()
        lines = [there] if there else []
        for running in self._running.values():
            lines += running.lines()
        return lines

    def _skip(self) -> None:
        """Take out cells that need one that ended otherwise than well."""
        awaited = {cell.name for cell in self._left} | self._running.keys()
        for cell in list(self._left):
            needed = self._needed(cell)
            if needed is None or needed.name in awaited or needed.state == "done":
                continue
            self._left.remove(cell)
            known = self._known[cell.name]
            known.state = "skipped"
            known.cause = f"needs {needed.name}, which is not done ({needed.state})"
            self._show.ended(known, 0.0)
            self._folder.write(self._status)

    def _startable(self) -> Iterator[tuple[Cell, EngineSet]]:
        """Cells that may start now, each on a set that has room; what they need has ended."""
        awaited = {cell.name for cell in self._left} | self._running.keys()
        for cell in list(self._left):
            if cell.needs in awaited:
                continue
            where = self._sets.free(cell.pair)
            if where is not None:
                yield cell, where

    def _needed(self, cell: Cell) -> CellStatus | None:
        return None if cell.needs is None else self._known[cell.needs]

    def _start(self, cell: Cell, where: EngineSet) -> None:
        known = self._known[cell.name]
        known.cause = ""
        places = [cell.place for cell in self._status.cells if cell.place is not None]
        known.state = "running"
        known.place = max(places, default=-1) + 1
        known.starts += 1
        known.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        known.harness = __version__
        known.parallel = self._plan.beside
        known.timing = self._plan.timing
        known.machine = where.place.name
        known.warm_up = not where.used
        self._show.started(known, RunWatch(self._path(known.folder)).line())
        self._save(known)
        running = RunningCell(cell, where)
        running.steps = self._steps(running, known)
        self._running[cell.name] = running
        where.running.add(cell.name)
        where.used = True

    def _resume(self, running: RunningCell) -> None:
        """One more look at a cell, and what follows from its end."""
        known = self._known[running.cell.name]
        status = 1
        try:
            next(running.steps)
            return
        except StopIteration as ended:
            status = ended.value
            if status and not self._stopping:
                known.cause = cause(self._path(known.log), status)
        except AttsError as error:
            known.cause = str(error)
        del self._running[running.cell.name]
        running.set.running.discard(running.cell.name)
        known.exit_status = status
        known.seconds += running.seconds
        if status and not self._stopping and self._goes_on_elsewhere(running, known):
            return
        known.state = self._state(known, status)
        self._show.ended(known, running.seconds)
        self._save(known)

    def _goes_on_elsewhere(self, running: RunningCell, known: CellStatus) -> bool:
        """Whether a cell lost its machine, and is to go on in another place."""
        why = running.set.place.lost()
        if why is None:
            return False
        name, machine = running.cell.name, running.set.place.name
        lost, when = self._lost.get(name, ("", 0.0))
        # A cluster takes a while to notice a dead machine, and may give it out again until then.
        if not machine or machine != lost or time.monotonic() - when > NOTICE_SECONDS:
            self._losses[name] += 1
            self._lost[name] = (machine, time.monotonic())
        if self._losses[name] > MOST_LOSSES:
            known.cause = f"lost its machine {self._losses[name]} times, the last time: {why}"
            return False
        known.state, known.cause = "pending", ""
        self._left.insert(0, running.cell)
        self._show.again(known, why)
        self._save(known)
        return True

    def _save(self, known: CellStatus) -> None:
        """The status; and what of it concerns a cell beside its run, for whoever reads that."""
        self._folder.write(self._status)
        folder = self._path(known.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CELL).write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))

    def _steps(self, running: RunningCell, known: CellStatus) -> Steps:
        """Everything that a cell needs, and the cell itself."""
        cell, servers = running.cell, running.set.servers
        while not servers.ready():
            yield
            if self._stopping or running.set.place.lost() is not None:
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
        reach = reaching(cell.strategy, cell.settings, args | {"strategy": cell.strategy})
        known.caches = clear_caches(reach, beside=self._plan.beside > 1)
        folder = self._path(known.folder)
        until, repeats = self._plan.until, known.repeats
        if until is not None and repeats is None:
            # A cell run again has as many as the first came to.
            base = None if cell.times_of is None else self._known[cell.times_of].repeats
            repeats = base or first_repeats(cell)
        while True:
            asked = cell if repeats is None else cell.with_repeats(repeats)
            arguments = self._framework.command(asked.evaluation(self._plan, args), folder)
            known.command = shlex.join(["atts", *arguments])
            self._folder.write(self._status)
            job = self._launch(running, known, arguments, folder, folder, reads)
            running.watched = [("", RunWatch(folder))]
            began = time.monotonic()
            status = yield from self._ended(running, job)
            running.watched = []
            running.seconds += time.monotonic() - began
            if until is None or status or self._stopping:
                return status
            known.repeats = repeats
            repeats, known.precision = next_round(folder, until)
            self._show.say(f"{cell.name}: {known.precision}")
            if repeats is None or cell.times_of is not None:
                return status

    def _bank(
        self, running: RunningCell, known: CellStatus, servers: Mapping[str, Any]
    ) -> Generator[None, None, Path]:
        """The cell's bank; made now if it does not exist yet."""
        cell = running.cell
        made = calibrations.of_cell(cell, self._plan)
        known.calibration = known.calibration or made
        bank = self._path(made.bank)
        while (other := self._banks.get(made.bank)) is not None:
            yield from self._ended(running, other)
            if self._stopping:
                raise CellFailedError("calibration: interrupted")
            yield  # whoever makes it looks first
        if made.bank in self._bad_banks:
            raise CellFailedError(self._bad_banks[made.bank])
        if bank.exists():
            return bank
        began = time.monotonic()
        self._show.say(f"{cell.name}: calibrating")
        bank.parent.mkdir(parents=True, exist_ok=True)
        arguments = calibrations.calibrate_command(cell, self._plan, bank, servers)
        run_dir = self._path(made.run_dir)
        job = self._launch(running, known, arguments, bank.parent, run_dir)
        self._banks[made.bank] = job
        running.watched = [("calibration: ", RunWatch(run_dir))]
        status = yield from self._ended(running, job)
        running.watched = []
        known.calibration.seconds += time.monotonic() - began
        del self._banks[made.bank]
        if status or not bank.exists():
            why = f"calibration: {cause(self._path(known.log), status)}"
            if running.set.place.lost() is None:  # else it is made elsewhere
                self._bad_banks[made.bank] = why
            raise CellFailedError(why)
        return bank

    def _launch(
        self,
        running: RunningCell,
        known: CellStatus,
        arguments: Sequence[str],
        folder: Path,
        run_dir: Path,
        reads: Sequence[Path] = (),
    ) -> Job:
        return running.set.place.start(
            Command(
                arguments=tuple(arguments),
                pair=running.cell.pair,
                log=self._path(known.log),
                folder=folder,
                run_dir=run_dir,
                reads=tuple(reads),
                beside=self._plan.beside,
            )
        )

    def _ended(self, running: RunningCell, job: Job) -> Steps:
        """Wait for a job's end."""
        running.job = job
        if self._stopping:  # it came while the job was being started
            job.wind_down()
        while (status := job.poll()) is None:
            yield
        running.job = None
        return status

    def _state(self, known: CellStatus, status: int) -> State:
        left = None
        if status in (0, SAMPLES_FAILED):
            left = self._framework.outcome(self._path(known.folder))
        if left is not None:
            known.results = str(left.results.relative_to(self._folder.path))
            known.metric, known.accuracy = left.metric, left.value
            return "done"
        if self._stopping:
            known.cause = ""
            return "interrupted"
        if status == 0 and not known.cause:
            known.cause = "it ended well and left no results file"
        return "failed"

    def _stop(self, why: str) -> None:
        for job in self._jobs():
            job.wind_down()
        for one in self._sets:
            if not one.servers.answer:
                one.servers.wind_down()

    def _jobs(self) -> list[Job]:
        """What runs; cells that wait for one calibration have one job."""
        jobs = [running.job for running in self._running.values() if running.job is not None]
        return list({id(job): job for job in jobs}.values())

    def _path(self, relative: str) -> Path:
        return self._folder.path / relative
