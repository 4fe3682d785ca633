"""Runs the cells of a plan: by default one after the other, so that none slows another down.

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
from atts_harness.running.interrupts import handle_signals


class CellFailedError(AttsError):
    """A step of a cell failed; the message is the cause, in a line."""


MOST_LOSSES = 5
"""How often a cell may lose its machine before it counts as failed: the cell may be the cause."""
NOTICE_SECONDS = 60.0
"""Losses of the same machine within this time count once."""


class PlanRunner:
    """Runs the cells of a plan that are not done yet.

    There is one thread. Every running cell is a generator that the thread resumes in turn,
    and that yields where it has to wait.

    Args:
        plan: what holds for every cell.
        cells: of the plan, in the order in which they are to run.
        folder: the comparison's, locked.
        status: what is known of the cells; kept up to date in the folder.
        show: tells people how it goes.
        framework: knows what a cell runs.
        launcher: knows where.

    Attributes:
        signals: signals that were received; after the first nothing new is started.
        gone: why no cell can run any more; None: they can.
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
        self._statuses = {cell.name: cell for cell in status.cells}
        self._waiting = [cell for cell in cells if self._statuses[cell.name].state != "done"]
        self._folder = folder
        self._status = status
        self._show = show
        self._framework = framework
        self._launcher = launcher
        self._needs = needs_of(self._waiting, plan)
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
            if self._waiting:
                self._launcher.begin(
                    self._folder.path, self._needs, self._show.say, self._plan.address
                )
            with handle_signals(self._stop, self._show.say) as self.signals, self._show.watching():
                try:
                    while self._advance():
                        if self._show.wants_progress:
                            self._show.progress(self._progress())
                        time.sleep(POLL_SECONDS)
                except KeyboardInterrupt:  # the second signal
                    for running in self._running.values():
                        self._statuses[running.cell.name].state = "interrupted"
                    for job in self._jobs():
                        job.kill()
                finally:
                    self._sets.stop()
                    self._folder.write(self._status)
        finally:
            self._launcher.end()

    def _advance(self) -> bool:
        """Start cells that can start and resume those that run; False once no cell is left."""
        self._see_what_is_gone()
        if not self._stopping:
            self._skip()
            self._sets.grow(self._waiting)
            for cell, engines in self._startable():
                self._waiting.remove(cell)
                self._start(cell, engines)
        for running in list(self._running.values()):
            self._resume(running)
        self._sets.shrink([] if self._stopping else self._waiting)
        return bool(self._running or (self._waiting and not self._stopping))

    @property
    def _stopping(self) -> bool:
        return bool(self.signals) or self.gone is not None

    def _see_what_is_gone(self) -> None:
        if self.gone is None and (reason := self._launcher.lost()) is not None:
            self.gone = reason
            self._stop(reason)

    def _progress(self) -> list[str]:
        """A line for the launcher, and one for each running cell that has begun to record."""
        state = self._launcher.state()
        lines = [state] if state else []
        for running in self._running.values():
            lines += running.lines()
        return lines

    def _skip(self) -> None:
        """Skip cells that need a cell that did not end well."""
        awaited = {cell.name for cell in self._waiting} | self._running.keys()
        for cell in list(self._waiting):
            needed = self._needed(cell)
            if needed is None or needed.name in awaited or needed.state == "done":
                continue
            self._waiting.remove(cell)
            status = self._statuses[cell.name]
            status.state = "skipped"
            status.cause = f"needs {needed.name}, which is not done ({needed.state})"
            self._show.ended(status, 0.0)
            self._folder.write(self._status)

    def _startable(self) -> Iterator[tuple[Cell, EngineSet]]:
        """Cells that may start now, each on a set that has room; what they need has ended."""
        awaited = {cell.name for cell in self._waiting} | self._running.keys()
        for cell in list(self._waiting):
            if cell.needs in awaited:
                continue
            engines = self._sets.free(cell.pair)
            if engines is not None:
                yield cell, engines

    def _needed(self, cell: Cell) -> CellStatus | None:
        return None if cell.needs is None else self._statuses[cell.needs]

    def _start(self, cell: Cell, engines: EngineSet) -> None:
        status = self._statuses[cell.name]
        status.cause = ""
        places = [cell.place for cell in self._status.cells if cell.place is not None]
        status.state = "running"
        status.place = max(places, default=-1) + 1
        status.starts += 1
        status.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        status.harness = __version__
        status.parallel = self._plan.beside
        status.timing = self._plan.timing
        status.machine = engines.place.name
        status.warm_up = not engines.used
        self._show.started(status, RunWatch(self._path(status.folder)).line())
        self._save(status)
        running = RunningCell(cell, engines)
        running.steps = self._steps(running, status)
        self._running[cell.name] = running
        engines.running.add(cell.name)
        engines.used = True

    def _resume(self, running: RunningCell) -> None:
        """Resume a running cell for one step; if that was its last, record how it ended."""
        status = self._statuses[running.cell.name]
        exit_status = 1
        try:
            next(running.steps)
            return
        except StopIteration as ended:
            exit_status = ended.value
            if exit_status and not self._stopping:
                status.cause = cause(self._path(status.log), exit_status)
        except AttsError as error:
            status.cause = str(error)
        del self._running[running.cell.name]
        running.set.running.discard(running.cell.name)
        status.exit_status = exit_status
        status.seconds += running.seconds
        if exit_status and not self._stopping and self._goes_on_elsewhere(running, status):
            return
        status.state = self._state(status, exit_status)
        self._show.ended(status, running.seconds)
        self._save(status)

    def _goes_on_elsewhere(self, running: RunningCell, status: CellStatus) -> bool:
        """Whether a cell lost its machine and was queued again, to go on in another place."""
        reason = running.set.place.lost()
        if reason is None:
            return False
        name, machine = running.cell.name, running.set.place.name
        lost, when = self._lost.get(name, ("", 0.0))
        # A cluster takes a while to notice a dead machine, and may assign it again until then.
        if not machine or machine != lost or time.monotonic() - when > NOTICE_SECONDS:
            self._losses[name] += 1
            self._lost[name] = (machine, time.monotonic())
        if self._losses[name] > MOST_LOSSES:
            status.cause = f"lost its machine {self._losses[name]} times, the last time: {reason}"
            return False
        status.state, status.cause = "pending", ""
        self._waiting.insert(0, running.cell)
        self._show.again(status, reason)
        self._save(status)
        return True

    def _save(self, status: CellStatus) -> None:
        """Write the status, and the cell's own part beside its run, for reports of that run."""
        self._folder.write(self._status)
        folder = self._path(status.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CELL).write_bytes(msgspec.json.format(msgspec.json.encode(status), indent=1))

    def _steps(self, running: RunningCell, status: CellStatus) -> Steps:
        """Wait for the servers, make the bank, run the cell: in rounds if the plan has `until`."""
        cell, servers = running.cell, running.set.servers
        while not servers.ready():
            yield
            if self._stopping or running.set.place.lost() is not None:
                return 1
        args: dict[str, Any] = dict(servers.settings(cell.kind.roles))
        reads: list[Path] = []
        if cell.calibrate is not None:
            bank = yield from self._bank(running, status, args)
            args["bank"] = str(bank)
            reads.append(bank)
        if cell.needs is not None:
            reads.append(self._path(self._statuses[cell.needs].folder))
            args["rate_of"] = str(reads[-1])
        # Caches are cleared last, for calibration fills them, too.
        reach = reaching(cell.strategy, cell.settings, args | {"strategy": cell.strategy})
        status.caches = clear_caches(reach, beside=self._plan.beside > 1)
        folder = self._path(status.folder)
        until, repeats = self._plan.until, status.repeats
        if until is not None and repeats is None:
            # A cell that repeats another has as many repeats as that one ended with.
            base = None if cell.times_of is None else self._statuses[cell.times_of].repeats
            repeats = base or first_repeats(cell)
        while True:
            round_cell = cell if repeats is None else cell.with_repeats(repeats)
            arguments = self._framework.command(round_cell.evaluation(self._plan, args), folder)
            status.command = shlex.join(["atts", *arguments])
            self._folder.write(self._status)
            job = self._launch(running, status, arguments, folder, folder, reads)
            running.watched = [("", RunWatch(folder))]
            began = time.monotonic()
            exit_status = yield from self._ended(running, job)
            running.watched = []
            running.seconds += time.monotonic() - began
            if until is None or exit_status or self._stopping:
                return exit_status
            status.repeats = repeats
            repeats, status.precision = next_round(folder, until)
            self._show.say(f"{cell.name}: {status.precision}")
            if repeats is None or cell.times_of is not None:
                return exit_status

    def _bank(
        self, running: RunningCell, status: CellStatus, servers: Mapping[str, Any]
    ) -> Generator[None, None, Path]:
        """The cell's bank; made now if it does not exist yet."""
        cell = running.cell
        calibration = calibrations.of_cell(cell, self._plan)
        status.calibration = status.calibration or calibration
        bank = self._path(calibration.bank)
        while (other := self._banks.get(calibration.bank)) is not None:
            yield from self._ended(running, other)
            if self._stopping:
                raise CellFailedError("calibration: interrupted")
            yield  # whoever makes it looks first
        if calibration.bank in self._bad_banks:
            raise CellFailedError(self._bad_banks[calibration.bank])
        if bank.exists():
            return bank
        began = time.monotonic()
        self._show.say(f"{cell.name}: calibrating")
        bank.parent.mkdir(parents=True, exist_ok=True)
        arguments = calibrations.calibrate_command(cell, self._plan, bank, servers)
        run_dir = self._path(calibration.run_dir)
        job = self._launch(running, status, arguments, bank.parent, run_dir)
        self._banks[calibration.bank] = job
        running.watched = [("calibration: ", RunWatch(run_dir))]
        exit_status = yield from self._ended(running, job)
        running.watched = []
        status.calibration.seconds += time.monotonic() - began
        del self._banks[calibration.bank]
        if exit_status or not bank.exists():
            reason = f"calibration: {cause(self._path(status.log), exit_status)}"
            if running.set.place.lost() is None:  # else it is made elsewhere
                self._bad_banks[calibration.bank] = reason
            raise CellFailedError(reason)
        return bank

    def _launch(
        self,
        running: RunningCell,
        status: CellStatus,
        arguments: Sequence[str],
        folder: Path,
        run_dir: Path,
        reads: Sequence[Path] = (),
    ) -> Job:
        return running.set.place.start(
            Command(
                arguments=tuple(arguments),
                pair=running.cell.pair,
                log=self._path(status.log),
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

    def _state(self, status: CellStatus, exit_status: int) -> State:
        outcome = None
        if exit_status in (0, SAMPLES_FAILED):
            outcome = self._framework.outcome(self._path(status.folder))
        if outcome is not None:
            status.results = str(outcome.results.relative_to(self._folder.path))
            status.metric, status.accuracy = outcome.metric, outcome.value
            return "done"
        if self._stopping:
            status.cause = ""
            return "interrupted"
        if exit_status == 0 and not status.cause:
            status.cause = "it ended well and left no results file"
        return "failed"

    def _stop(self, reason: str) -> None:
        for job in self._jobs():
            job.wind_down()
        for engines in self._sets:
            if not engines.servers.answer:
                engines.servers.wind_down()

    def _jobs(self) -> list[Job]:
        """The jobs that run, each once: cells that wait for one calibration share its job."""
        jobs = [running.job for running in self._running.values() if running.job is not None]
        return list({id(job): job for job in jobs}.values())

    def _path(self, relative: str) -> Path:
        return self._folder.path / relative
