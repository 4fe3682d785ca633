"""How far the running cells are: samples done and the time left, from their journals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atts_harness.journal.counts import Counts, counts
from atts_harness.running.progress import clock


@dataclass
class RunWatch:
    """Watches one run.

    Attributes:
        run_dir: the run's directory.
        now: a clock, in seconds.
    """

    run_dir: Path
    now: Callable[[], float] = time.monotonic
    _first: tuple[float, Counts] | None = None

    def line(self) -> str:
        """Samples done, time left and failures in a few words; "" before anything is known.

        The time left is estimated from the pace since the first look, without what an earlier start
        had finished.
        """
        tally = counts(self.run_dir)
        if tally is None:
            return ""
        now = self.now()
        if self._first is None or tally.finished < self._first[1].finished:
            self._first = (now, tally)
        parts = [f"{tally.finished}/{tally.total} samples"]
        began, before = self._first
        fresh = tally.finished - before.finished
        if fresh and tally.finished < tally.total:
            parts.append(f"{clock((now - began) / fresh * (tally.total - tally.finished))} left")
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        return ", ".join(parts)
