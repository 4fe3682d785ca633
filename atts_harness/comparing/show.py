"""What people see of a comparison: a line as each cell starts and ends, and a table.

While cells run, a terminal shows a line for each of them below the others, and keeps it up to
date; elsewhere the same lines are printed now and then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from atts_harness import terminal
from atts_harness.comparing.status import CellStatus, Status
from atts_harness.running.progress import clock

PLAIN_WIDTH = 140
LINES_SECONDS = 30.0
LIVE_SECONDS = 1.0
NAMES = ("task", "pair", "strategy")
STYLES = {
    "done": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
    "pending": "dim",
}


class Show:
    """Prints lines: with colours in a terminal, plain elsewhere.

    Args:
        total: cells of the plan.
        already_done: those that were done before.
        console: where to.
    """

    def __init__(self, total: int, already_done: int = 0, console: Console | None = None) -> None:
        self.console = console or make_console()
        self._total = total
        self._number = already_done
        self._live: Live | None = None
        self._shown = time.monotonic()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Show `progress` until the block ends."""
        self._shown = time.monotonic()
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live:
            try:
                yield
            finally:
                self._live = None

    @property
    def wants_progress(self) -> bool:
        """Whether it is time to show how far the cells are."""
        pause = LIVE_SECONDS if self._live is not None else LINES_SECONDS
        return time.monotonic() - self._shown >= pause

    def progress(self, lines: Sequence[str]) -> None:
        """Show the progress of what runs now, in place of the last progress line."""
        self._shown = time.monotonic()
        if self._live is not None:
            self._live.update(Group(*(Text(line, style="cyan") for line in lines)), refresh=True)
            return
        for line in lines:
            self._line(line)

    def say(self, text: str) -> None:
        """Print a line."""
        self._line(f"atts: {text}")

    def started(self, cell: CellStatus, recorded: str = "") -> None:
        """A cell begins; `recorded` says how far an earlier start came."""
        self._number += 1
        again = ", continued" if cell.starts > 1 else ""
        if again and recorded:
            again += f" behind {recorded}"
        self._line(f"[{self._number}/{self._total}] {cell.name}: started{again}")

    def again(self, cell: CellStatus, reason: str) -> None:
        """A cell has lost its machine, and will go on in another place."""
        self._number -= 1
        self._line(f"{cell.name}: {reason}; it goes on elsewhere", "yellow")

    def ended(self, cell: CellStatus, seconds: float) -> None:
        """A cell has ended, or was skipped."""
        if cell.state == "skipped":
            self._number += 1
        parts = [cell.state, f"{seconds:.0f} s"]
        if cell.accuracy is not None:
            parts.append(f"{cell.metric} {cell.accuracy:.3f}")
        text = f"[{self._number}/{self._total}] {cell.name}: {', '.join(parts)}"
        if cell.cause:
            text += f": {cell.cause}"
        self._line(text, STYLES[cell.state] if cell.state != "done" else "")

    def table(self, status: Status) -> None:
        """Every cell of the plan, in the order of the plan."""
        names = NameColumns([cell.name for cell in status.cells])
        table = names.table(status.name)
        table.add_column("state")
        for title in ("time", "accuracy"):
            table.add_column(title, justify="right", no_wrap=True)
        for cell in status.cells:
            accuracy = "" if cell.accuracy is None else f"{cell.metric} {cell.accuracy:.3f}"
            table.add_row(
                *names.row(cell.name),
                Text(cell.state, style=STYLES[cell.state]),
                Text(clock(cell.seconds) if cell.starts else ""),
                Text(accuracy),
            )
        self.console.print(terminal.FittedTable(table, names=len(names.columns)))
        for cell in status.cells:
            if cell.cause:
                log = f" (log: {cell.log})" if _has_log(cell) else ""
                self._line(f"{cell.name}: {cell.cause}{log}", STYLES[cell.state])
        for line in remarks(status):
            self._line(line)

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)


class NameColumns:
    """The columns that name the cells of a table: what all cells share stands in the title.

    Args:
        cells: names of the cells, each TASK/PAIR/ROW.
    """

    def __init__(self, cells: Sequence[str]) -> None:
        parts = [set(part) for part in zip(*(cell.split("/") for cell in cells), strict=True)]
        self._shared = {
            title: next(iter(values))
            for title, values in zip(NAMES, parts, strict=bool(cells))
            if len(values) == 1 and title != NAMES[-1]
        }
        self.columns = [title for title in NAMES if title not in self._shared]

    def table(self, title: str) -> Table:
        """An empty table with these columns."""
        shared = ", ".join(f"{title} {value}" for title, value in self._shared.items())
        table = Table(title=f"{title} ({shared})" if shared else title, title_justify="left")
        for column in self.columns:
            table.add_column(column, overflow="fold")
        return table

    def row(self, cell: str) -> list[str]:
        """What stands in these columns for a cell."""
        parts = dict(zip(NAMES, cell.split("/"), strict=True))
        return [parts[title] for title in self.columns]


def make_console() -> Console:
    """A console: the terminal's, else one wide enough for tables and without colours."""
    console = terminal.console()
    return console if console.is_terminal else terminal.console(width=PLAIN_WIDTH)


def remarks(status: Status) -> list[str]:
    """Notes that a reader of the table needs."""
    lines = []
    uncleared = sorted(
        {
            f"{role}: {state}"
            for cell in status.cells
            for role, state in cell.caches.items()
            if state.startswith("not cleared")
        }
    )
    lines += [f"prefix caches were not cleared between cells: {state}" for state in uncleared]
    parallel = max((cell.parallel for cell in status.cells), default=1)
    if parallel > 1:
        lines.append(
            f"{parallel} cells ran at a time: seconds and latencies show the load of all of them"
        )
    if status.dropped:
        names = ", ".join(cell.name for cell in status.dropped)
        lines.append(f"no longer in the plan, their folders kept: {names}")
    return lines


def counted(cells: Sequence[CellStatus]) -> str:
    """How many cells are in which state, in words."""
    states = [cell.state for cell in cells]
    return ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(sorted(states)))


def _has_log(cell: CellStatus) -> bool:
    return cell.state == "failed"
