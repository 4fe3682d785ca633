"""Shows the progress of a run: a live display in a terminal, plain lines elsewhere.

Samples done and the time left, the takeover rate against the nominal one, tokens a second by
role, retries and failures; and which engine is gone, while one is.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from atts_harness.neutral import plain
from atts_harness.records import CallRecord, DecisionRecord, SampleRecord
from atts_harness.running.observers import Observers

if TYPE_CHECKING:
    from rich.progress import Progress

    from atts_harness.running.engine import Engine

Mode = Literal["auto", "rich", "plain", "off"]
WINDOW_SECONDS = 30.0
REFRESH_SECONDS = 0.5
LINE_SECONDS = 30.0
FIRST_LINE_SECONDS = 5.0


class ProgressTally:
    """Counts what happens. Written in the run's loop and read by the display's thread.

    Args:
        total: samples asked for.
        nominal: the takeover rate that the run aims at, if it has one.
        engines: the run's engines, asked for each time.
    """

    def __init__(
        self,
        total: int,
        nominal: float | None = None,
        engines: Callable[[], Sequence[Engine]] = tuple,
    ) -> None:
        self._engines = engines
        self.total = total
        self.nominal = nominal
        self.done = self.failed = self.retries = self.judged = self.taken = 0
        self.fresh = 0  # finished in this session, what the time left is estimated from
        self._began = time.monotonic()
        self._written: dict[str, deque[tuple[float, int]]] = {"draft": deque(), "target": deque()}

    def observers(self) -> Observers:
        """Observers that count a run's records for this tally."""
        return Observers([self._call], [self._decision], [self._sample])

    def resumed(self, done: int, failed: int) -> None:
        """Count samples that an earlier session had finished."""
        self.done += done
        self.failed += failed

    def tokens_per_second(self, role: str) -> float:
        """Tokens a second that a role wrote in the last `WINDOW_SECONDS`."""
        written, now = self._written[role], time.monotonic()
        recent = sum(count for at, count in list(written) if at > now - WINDOW_SECONDS)
        return recent / max(1.0, min(WINDOW_SECONDS, now - self._began))

    def seconds_left(self) -> float | None:
        """Seconds to the end at the pace of this session; None before its first sample."""
        if not self.fresh:
            return None
        return (time.monotonic() - self._began) / self.fresh * (self.total - self.done)

    def line(self) -> str:
        """All of it in one line."""
        remaining = self.seconds_left()
        parts = [f"{self.done}/{self.total} samples"]
        if remaining is not None and self.done < self.total:
            parts.append(f"{clock(remaining)} left")
        return ", ".join([*parts, *self.details()])

    def details(self) -> list[str]:
        """All but the count and the time left."""
        parts = []
        for engine in self._engines():
            if (waited := engine.waited_for) is not None:
                parts.append(
                    f"{engine.name} IS GONE, waited for {clock(waited)} of {clock(engine.patience)}"
                )
        if self.judged:
            aim = "" if self.nominal is None else f" (nominal {self.nominal:.2f})"
            parts.append(f"takeovers {self.taken / self.judged:.2f}{aim}")
        for role in ("draft", "target"):
            rate = self.tokens_per_second(role)
            if rate >= 1:
                parts.append(f"{role} {rate:.0f} tok/s")
        if self.retries:
            parts.append(f"{self.retries} retries")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return parts

    def _call(self, record: CallRecord) -> None:
        self.retries += record.retries
        if record.usage is not None and record.key.role in self._written:
            written, now = self._written[record.key.role], time.monotonic()
            written.append((now, record.usage.completion_tokens))
            while written[0][0] < now - WINDOW_SECONDS:
                written.popleft()

    def _decision(self, record: DecisionRecord) -> None:
        if record.judged:  # others are counted apart
            self.judged += 1
            self.taken += record.takeover

    def _sample(self, record: SampleRecord) -> None:
        self.done += 1
        self.fresh += 1
        self.failed += record.failed is not None


def clock(seconds: float) -> str:
    """A duration as `h:mm:ss`, or `m:ss` below an hour."""
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"


def resolve_mode(mode: Mode, stream: TextIO) -> Mode:
    """What `auto` means for a stream: live in a terminal or a capable notebook, else lines."""
    if mode != "auto":
        return mode
    if "ipykernel" in sys.modules:
        return "rich" if importlib.util.find_spec("ipywidgets") else "plain"
    return "rich" if stream.isatty() else "plain"


@contextlib.contextmanager
def show_progress(
    tally: ProgressTally, mode: Mode = "auto", stream: TextIO | None = None
) -> Iterator[None]:
    """Show a tally until the block ends, and once more at its end.

    Args:
        tally: the counts to show.
        mode: live display, lines or nothing; see `resolve_mode`.
        stream: where; standard error by default, at the time of the call.
    """
    out = stream or sys.stderr
    resolved = resolve_mode(mode, out)
    if resolved == "off":
        yield
    elif resolved == "rich":
        with _live(tally, out):
            yield
    else:
        with _lines(tally, out):
            yield


@contextlib.contextmanager
def _lines(tally: ProgressTally, out: TextIO) -> Iterator[None]:
    ended = threading.Event()

    def tell() -> None:
        pause, last = FIRST_LINE_SECONDS, ""
        while not ended.wait(pause):
            pause = LINE_SECONDS
            if (line := tally.line()) != last:
                print(f"atts: {plain(line)}", file=out, flush=True)
                last = line

    thread = threading.Thread(target=tell, name="atts-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        print(f"atts: {plain(tally.line())}", file=out, flush=True)


@contextlib.contextmanager
def _live(tally: ProgressTally, out: TextIO) -> Iterator[None]:
    display = _display(out)
    task = display.add_task("samples", total=tally.total, details="")
    ended = threading.Event()

    def update() -> None:
        remaining = tally.seconds_left()
        parts = ["" if remaining is None else f"{clock(remaining)} left", *tally.details()]
        display.update(task, completed=tally.done, details=", ".join(filter(None, parts)))

    def keep_up() -> None:
        while not ended.wait(REFRESH_SECONDS):
            update()

    thread = threading.Thread(target=keep_up, name="atts-progress", daemon=True)
    with display:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            update()


def _display(out: TextIO) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from atts_harness.terminal import console

    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[details]}"),
        console=console(file=out, stderr=False),
    )
