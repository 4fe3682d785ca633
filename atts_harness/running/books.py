"""The records of a run in progress: journal, ledger, log, summary and observers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec

from atts_harness import neutral, plugins
from atts_harness.errors import SAMPLES_FAILED, RunDirError
from atts_harness.journal.contract import Journal, MemoryJournal
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.lanes import lanes_of
from atts_harness.ledger.prices import prices_of
from atts_harness.ledger.sums import Ledger
from atts_harness.records import RunRecord, SampleId, SampleRecord
from atts_harness.running.control import Control
from atts_harness.running.interrupts import command_line
from atts_harness.running.logs import log_to
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions

logger = neutral.logger("atts_harness.running")


class RunSummary(msgspec.Struct, kw_only=True):
    """How a run ended.

    Attributes:
        state: `finished`, `interrupted` or `failed`.
        total: samples asked for.
        failed: samples that failed for good, as `task/doc/repeat`.
        missing: samples without a result.
        outages: times in which an engine was gone.
        ledger: see `Ledger.summary`; sessions before this one included.
        unsaved: why the run directory does not hold all of it, though every sample has a result;
            empty if it does.
    """

    state: str = "running"
    total: int = 0
    failed: list[str] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    outages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    ledger: dict[str, Any] = msgspec.field(default_factory=dict)
    unsaved: str = ""

    @property
    def exit_status(self) -> int:
        """0 if every sample has a result; 3 if some of these failed for good; else 1."""
        if self.missing or self.state != "finished" or self.unsaved:
            return 1
        return SAMPLES_FAILED if self.failed else 0


@dataclass
class Books:
    """Opens a run's journal and ledger, and closes them in every case. Use with `with`.

    Attributes:
        record: describes the run.
        options: the run's.
        directory: where to record it; None: in memory.
        observers: called with every record; by default the plugins' hooks.
        summary: filled in when it ends.
        log: whether its directory gets a log.
        most: how many values its percentiles are computed from; 0: all.
        control: how the run is watched and stopped.
        journal: once it is open.
        watchers: the session's observers: `observers` and the ledger.
        recorded: calls of earlier sessions.
    """

    record: RunRecord
    options: RunOptions
    directory: RunDirectory | None = None
    observers: Observers | None = None
    summary: RunSummary = field(default_factory=RunSummary)
    log: bool = True
    most: int = 0
    control: Control = field(default_factory=Control)
    journal: Journal = field(init=False)
    watchers: Observers = field(init=False)
    recorded: int = 0
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def begin(
        self,
        plan: Mapping[SampleId, Planned],
        defaults: Mapping[str, Any],
        recorded: Callable[[SampleRecord], None] = lambda record: None,
    ) -> Self:
        """Open the journal, and take over what earlier sessions recorded.

        Args:
            plan: the samples that are asked for now.
            defaults: of the strategy's options.
            recorded: called with every sample of earlier sessions.

        Raises:
            JournalError: the run directory cannot be written, or holds something else.
        """
        options = self.options
        self.summary.state = "failed"
        self._ledger = Ledger(lanes_of(options), prices_of(options), self.most)
        books = Observers([self._ledger.add_call], [], [self._ledger.add_sample])
        books += Observers(figures=[self._ledger.add_figures])
        self.watchers = (self.observers or plugin_observers()) + books
        if self.directory is None:
            self.journal = MemoryJournal(keep=False)
        else:
            self.journal = self.directory.journal(
                self.record,
                plan,
                defaults=defaults,
                retry_failed=options.retry_failed,
                command=command_line(),
            )
        try:
            for record in self.journal.recorded():
                if isinstance(record, SampleRecord):
                    self._ledger.add_sample(record)
                    recorded(record)
                else:
                    self.recorded += 1
                    self._ledger.add_call(record)
        except BaseException:
            self.journal.close()
            raise
        return self

    def __enter__(self) -> Self:
        """Tell the plugins, and write the log from now on."""
        log = None
        if self.directory is not None and self.log:
            log = self.directory.path / "run.log"
        self._open.enter_context(log_to(log))
        _tell("atts_run_started", run=self.record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the journal, note how the run ended, and tell the plugins."""
        try:
            self._close()
        finally:
            self._open.close()
            _tell("atts_run_finished", run=self.record, samples=self._counts())

    def _close(self) -> None:
        self.summary.ledger = self._ledger.summary()
        self.summary.outages = [
            msgspec.to_builtins(outage)
            for engine in self.control.engines
            for outage in engine.outages
        ]
        try:
            self.journal.close()
            if self.directory is not None:
                self.directory.ended(self.summary.state, msgspec.to_builtins(self.summary))
        except RunDirError as error:
            # Another error is on its way, or every sample is there and is handed over.
            self.summary.unsaved = str(error)
            logger.error("%s", error)

    def _counts(self) -> dict[str, int]:
        failed, missing = len(self.summary.failed), len(self.summary.missing)
        if self.summary.state != "finished" and not missing:
            missing = self.summary.total  # ended by an error: nothing was handed over
        finished = self.summary.total - failed - missing
        return {"finished": finished, "failed": failed, "missing": missing}


def plugin_observers() -> Observers:
    """The plugins' hooks; one that raises does not end the run."""
    discovery = plugins.discovery()
    return Observers(
        call=discovery.observers("atts_call_finished"),
        decision=discovery.observers("atts_decision_made"),
        sample=discovery.observers("atts_sample_finished"),
    )


def _tell(hook: str, **arguments: Any) -> None:
    """Tell the plugins that a run begins or ends."""
    for _ in plugins.discovery().ask(hook, lambda: arguments):
        pass
