"""A cell that runs: where, how far it is, and what it waits for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from atts_harness.comparing.cells import Cell
from atts_harness.comparing.sets import EngineSet
from atts_harness.comparing.watch import RunWatch
from atts_harness.launcher import Job

Steps = Generator[None, None, int]
"""The steps of a cell: yields whenever it has to wait, returns the exit status."""


@dataclass(eq=False)
class RunningCell:
    """A cell that runs.

    Attributes:
        cell: the cell.
        set: the engines that it runs on.
        steps: what it does; set once it was started.
        job: the command that it waits for; None: it waits for something else.
        seconds: of its evaluation, in this start.
        watched: runs whose progress can be shown: a prefix for the line, and the run.
    """

    cell: Cell
    set: EngineSet
    steps: Steps = field(init=False)
    job: Job | None = None
    seconds: float = 0.0
    watched: list[tuple[str, RunWatch]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """How far it is: a line for each run that has begun to record."""
        machine = f" on {name}" if (name := self.set.place.name) else ""
        return [
            f"{self.cell.name}{machine}: {prefix}{progress}"
            for prefix, watch in self.watched
            if (progress := watch.line())
        ]
