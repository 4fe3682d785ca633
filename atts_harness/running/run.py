"""One call of `Harness.run`: a batch with its books, a display, and signals that wind it down."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atts_harness import neutral
from atts_harness.backend import Backend, Role
from atts_harness.errors import RunIncompleteError, RunInterruptedError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.identity import defaults_of
from atts_harness.journal.plan import planned
from atts_harness.records import RunRecord, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.books import Books, RunSummary
from atts_harness.running.interrupts import handle_signals, resume_hint
from atts_harness.running.observers import Observers
from atts_harness.running.progress import ProgressTally, show_progress
from atts_harness.running.session import name_of
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, StrategyOptions

logger = neutral.logger("atts_harness.running")

Await = Callable[[Coroutine[Any, Any, list[SampleRecord]]], list[SampleRecord]]
MOST_NAMED = 10


@dataclass
class Run:
    """The run of one call of `Harness.run`.

    Attributes:
        groups: problems with their samples and strategy.
        record: describes the run.
        backends: by role.
        options: the run's.
        directory: where to record it; None: in memory.
        observers: called with every record; by default the plugins' hooks.
        show: whether to show progress, as `options.progress` has it.
        extractor: the model that extracts answers when samples end, if one does.
        summary: filled in when it ends.
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

    def produce(self, wait: Await) -> list[SampleRecord]:
        """Produce all samples; `wait` runs a coroutine in the run's loop.

        Raises:
            RunIncompleteError: not all samples were finished.
            JournalError: the run directory cannot be written, or holds something else.
        """
        options = self.options
        self.summary.total = sum(len(group.samples) for group in self.groups)
        tally = ProgressTally(
            self.summary.total, _nominal(self.groups), lambda: books.control.engines
        )
        ids = {sample.id for group in self.groups for sample in group.samples}

        def recorded(record: SampleRecord) -> None:
            if record.id in ids:
                tally.resumed(1, int(record.failed is not None))

        def begun() -> None:
            if self.directory is not None and books.recorded:
                _say(
                    f"resumed from {self.directory.path}: {tally.done} of {tally.total} samples "
                    f"and {books.recorded} calls are recorded there"
                )

        books = Books(self.record, options, self.directory, self.observers, self.summary)
        options_class = self.groups[0].strategy.Options if self.groups else StrategyOptions
        with (
            books.begin(planned(self.groups), defaults_of(options_class), recorded),
            show_progress(tally, options.progress if self.show else "off"),
            handle_signals(books.control.stop, _say) as signals,
        ):
            begun()
            work = run_groups(
                self.groups,
                self.backends,
                options,
                books.journal,
                books.watchers + tally.observers(),
                books.control,
                self.extractor,
            )
            return self._finish(wait, work, books, signals)

    def _finish(
        self,
        wait: Await,
        work: Coroutine[Any, Any, list[SampleRecord]],
        books: Books,
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
            done, total = books.control.done, books.control.total
            message = f"{error}: {done} of {total} samples are finished; {hint}"
            raise type(error)(message, error.missing, status) from error
        self.summary.state = "finished"
        self.summary.failed = [name_of(r.id) for r in records if r.failed is not None]
        if self.summary.failed:
            logger.warning(
                "%d of %d samples failed for good: %s%s",
                len(self.summary.failed),
                len(records),
                ", ".join(self.summary.failed[:MOST_NAMED]),
                " ..." if len(self.summary.failed) > MOST_NAMED else "",
            )
        return records


def _nominal(groups: Sequence[Group]) -> float | None:
    """The takeover rate that all groups' strategies aim at, if they agree on one."""
    rates = {group.strategy.nominal_rate for group in groups}
    return rates.pop() if len(rates) == 1 else None


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; the run is winding down
        print(f"atts: {neutral.plain(message)}", file=sys.stderr, flush=True)
