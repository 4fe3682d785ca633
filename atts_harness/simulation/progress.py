"""Says on standard error what a plan is simulating, once that takes more than a few seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from atts_harness import terminal
from atts_harness.neutral import plain

__all__ = ["SimulationProgress", "show_simulation"]

FIRST_SECONDS = 3.0
"""Nothing is said of what is quicker."""
LIVE_SECONDS, LINE_SECONDS = 0.5, 30.0
"""Between two updates in a terminal, and between two lines elsewhere."""


@dataclass
class SimulationProgress:
    """What is simulated now. Written by the simulation, read by the display's thread.

    Attributes:
        rows: of the plan.
        row: number of the present one, from 1 on; 0: none is begun.
        label: its name.
        run: number of its present run: a row is simulated on several splits of the GPUs.
        samples: of this run.
        done: of them, those that ended.
    """

    rows: int = 1
    row: int = 0
    label: str = ""
    run: int = 0
    samples: int = 0
    done: int = 0

    def begin_row(self, label: str) -> None:
        """The next row is simulated."""
        self.row += 1
        self.label, self.run = label, 0

    def begin_run(self, samples: int) -> None:
        """The row's next run is simulated."""
        self.run += 1
        self.samples, self.done = samples, 0

    def line(self) -> str:
        """All of it in one line."""
        return (
            f"simulating {self.row} of {self.rows}: {self.label}, run {self.run}: "
            f"{self.done:,} of {self.samples:,} samples"
        )


@contextlib.contextmanager
def show_simulation(progress: SimulationProgress, stream: TextIO | None = None) -> Iterator[None]:
    """Show the progress until the block ends: one changing line in a terminal, else lines.

    Args:
        progress: what is simulated.
        stream: where; standard error by default.
    """
    out = stream or sys.stderr
    ended = threading.Event()
    show = _live if out.isatty() else _lines
    thread = threading.Thread(
        target=show, args=(progress, out, ended), name="atts-simulation", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _live(progress: SimulationProgress, out: TextIO, ended: threading.Event) -> None:
    if ended.wait(FIRST_SECONDS):
        return
    with terminal.console(file=out).status(plain(progress.line())) as status:
        while not ended.wait(LIVE_SECONDS):
            status.update(plain(progress.line()))


def _lines(progress: SimulationProgress, out: TextIO, ended: threading.Event) -> None:
    pause = FIRST_SECONDS
    while not ended.wait(pause):
        pause = LINE_SECONDS
        print(f"atts: {plain(progress.line())}", file=out, flush=True)
