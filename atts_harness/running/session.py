"""One session of a run: journal, ledger, display, log and signals around the schedule."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from atts_harness import neutral, plugins
from atts_harness.backend import Backend, Role
from atts_harness.errors import (
    SAMPLES_FAILED,
    RunDirError,
    RunIncompleteError,
    RunInterruptedError,
)
from atts_harness.journal.contract import Journal, MemoryJournal
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.identity import defaults_of
from atts_harness.journal.plan import planned
from atts_harness.lanes import lanes_of
from atts_harness.ledger.prices import prices_of
from atts_harness.ledger.sums import Ledger
from atts_harness.neutral import plain
from atts_harness.records import RunRecord, SampleId, SampleRecord
from atts_harness.running.control import Control
from atts_harness.running.interrupts import command_line, handled, resume_hint
from atts_harness.running.logs import logged
from atts_harness.running.observers import Observers
from atts_harness.running.progress import Tally, shown
from atts_harness.running.scheduler import run_groups
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, StrategyOptions

logger = neutral.logger("atts_harness.running")

Await = Callable[[Coroutine[Any, Any, list[SampleRecord]]], list[SampleRecord]]
MOST_NAMED = 10


class RunSummary(msgspec.Struct, kw_only=True):
    """How a run ended.

    Attributes:
        state: `finished`, `interrupted` or `failed`.
        total: samples asked for.
        failed: samples that failed for good, as `task/doc/repeat`.
        missing: samples without a result.
        outages: times in which an engine was gone.
        ledger: see `Ledger.summary`; sessions before this one included.
    """

    state: str = "running"
    total: int = 0
    failed: list[str] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    outages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    ledger: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 if every sample has a result; 3 if some of these failed for good; else 1."""
        if self.missing or self.state != "finished":
            return 1
        return SAMPLES_FAILED if self.failed else 0


@dataclass
class Session:
    """What one call of `Harness.run` needs.

    Attributes:
        groups: what to produce.
        record: what is being run.
        backends: by role.
        options: the run's.
        directory: where to record it; None: in memory.
        observers: who is told; by default the plugins' hooks.
        show: whether to show progress, as `options.progress` has it.
        extractor: the model that extracts answers when samples end, if one does.
        summary: how it ended.
        hurried: whether it was ended at once, by a second signal.
    """

    groups: Sequence[Group]
    record: RunRecord
    backends: Mapping[Role, Backend]
    options: RunOptions
    directory: RunDirectory | None = None
    observers: Observers | None = None
    show: bool = True
    extractor: Backend | None = None
    summary: RunSummary = field(default_factory=RunSummary)
    hurried: bool = False

    def run(self, wait: Await) -> list[SampleRecord]:
        """Produce all samples; `wait` runs a coroutine in the run's loop.

        Raises:
            RunIncompleteError: not all samples were finished.
            JournalError: the run directory cannot be written, or holds something else.
        """
        options = self.options
        ledger = Ledger(lanes_of(options), prices_of(options))
        control = Control()
        self.summary.state = "failed"
        self.summary.total = sum(len(group.samples) for group in self.groups)
        tally = Tally(self.summary.total, _nominal(self.groups))
        told = self.observers or _of_plugins()
        books = Observers([ledger.add_call], [], [ledger.add_sample], [ledger.add_figures])
        journal = self._journal()
        try:
            self._take_over_the_books(journal, ledger, tally)
            _tell("atts_run_started", run=self.record)
            log = None if self.directory is None else self.directory.path / "run.log"
            with (
                logged(log),
                shown(tally, options.progress if self.show else "off"),
                handled(control.stop, _say) as signals,
            ):
                watchers = told + books + tally.observers()
                work = run_groups(
                    self.groups, self.backends, options, journal, watchers, control, self.extractor
                )
                records = self._finish(wait, work, control, signals)
            return records
        finally:
            self._close(journal, ledger, control)
            _tell("atts_run_finished", run=self.record, samples=self._counts())

    def _finish(
        self,
        wait: Await,
        work: Coroutine[Any, Any, list[SampleRecord]],
        control: Control,
        signals: Sequence[int],
    ) -> list[SampleRecord]:
        try:
            records = wait(work)
        except KeyboardInterrupt:
            self.hurried = True
            self.summary.state = "interrupted"
            raise
        except RunIncompleteError as error:
            if isinstance(error, RunInterruptedError):
                self.summary.state = "interrupted"
            self.summary.missing = list(error.missing)
            status = 128 + signals[0] if signals else error.exit_status
            hint = resume_hint(self.options.run_dir)
            message = f"{error}: {control.done} of {control.total} samples are finished; {hint}"
            raise type(error)(message, error.missing, status) from error
        self.summary.state = "finished"
        self.summary.failed = [_name(r.id) for r in records if r.failed is not None]
        if self.summary.failed:
            logger.warning(
                "%d of %d samples failed for good: %s%s",
                len(self.summary.failed),
                len(records),
                ", ".join(self.summary.failed[:MOST_NAMED]),
                " ..." if len(self.summary.failed) > MOST_NAMED else "",
            )
        return records

    def _journal(self) -> Journal:
        if self.directory is None:
            return MemoryJournal(keep=False)
        options = self.groups[0].strategy.Options if self.groups else StrategyOptions
        return self.directory.journal(
            self.record,
            planned(self.groups),
            defaults=defaults_of(options),
            retry_failed=self.options.retry_failed,
            command=command_line(),
        )

    def _take_over_the_books(self, journal: Journal, ledger: Ledger, tally: Tally) -> None:
        """Earlier sessions' calls and samples belong to the run, too."""
        wanted = {sample.id for group in self.groups for sample in group.samples}
        for record in journal.recorded():
            if isinstance(record, SampleRecord):
                ledger.add_sample(record)
                if record.id in wanted:
                    tally.resumed(1, int(record.failed is not None))
            else:
                ledger.add_call(record)

    def _close(self, journal: Journal, ledger: Ledger, control: Control) -> None:
        self.summary.ledger = ledger.summary()
        self.summary.outages = [
            msgspec.to_builtins(outage) for engine in control.engines for outage in engine.outages
        ]
        try:
            journal.close()
            if self.directory is not None:
                self.directory.ended(self.summary.state, msgspec.to_builtins(self.summary))
        except RunDirError as error:
            if self.summary.state == "finished":
                raise
            logger.error("%s", error)  # another error is on its way

    def _counts(self) -> dict[str, int]:
        failed, missing = len(self.summary.failed), len(self.summary.missing)
        if self.summary.state != "finished" and not missing:
            missing = self.summary.total  # ended by an error: nothing was handed over
        finished = self.summary.total - failed - missing
        return {"finished": finished, "failed": failed, "missing": missing}


def _of_plugins() -> Observers:
    """The plugins' hooks; one that raises does not end the run."""
    known = plugins.discovery()
    return Observers(
        call=known.observers("atts_call_finished"),
        decision=known.observers("atts_decision_made"),
        sample=known.observers("atts_sample_finished"),
    )


def _tell(hook: str, **what: Any) -> None:
    """Tell the plugins that a run begins or ends."""
    for _ in plugins.discovery().ask(hook, lambda: what):
        pass


def _nominal(groups: Sequence[Group]) -> float | None:
    """The takeover rate that all groups' strategies aim at, if they agree on one."""
    rates = {group.strategy.nominal_rate for group in groups}
    return rates.pop() if len(rates) == 1 else None


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; the run is winding down
        print(f"atts: {plain(message)}", file=sys.stderr, flush=True)


def _name(sample: SampleId) -> str:
    return f"{sample.task}/{sample.doc}/{sample.repeat}"
