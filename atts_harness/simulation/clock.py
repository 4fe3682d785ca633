"""Simulated time: an event loop whose clock jumps to the next timer instead of waiting for it.

Schedules of hours run in seconds, and exactly: everything that reads the loop's clock (sleeps,
time limits, a run's own clock) reads simulated time. For code without threads and sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

SELDOM, OLDER = 50_000, 1
"""Objects that are made between two looks for garbage, and looks at young objects between two at
older ones: a finished sample is garbage in a cycle, with its whole context."""


class _JumpingSelector(selectors.DefaultSelector):
    """Lets the clock jump where others would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; if nothing is, the time is `timeout` later."""
        if timeout is None:
            raise RuntimeError("simulated time: everything waits for something that never comes")
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop with simulated time, which begins at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds."""
        return self._jumping.now

    @property
    def _clock_resolution(self) -> float:
        """Timers due within it fire. asyncio's own, 1 ns, is lost in rounding after half a year."""
        return max(1e-9, math.ulp(self._jumping.now))

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """What asyncio sets, that of the machine's clock, is not read here."""


def run_simulated(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run a coroutine in simulated time.

    Returns:
        Its result, and how many simulated seconds it took.

    Raises:
        RuntimeError: a deadlock: everything waits and no timer is set.
    """
    with _seldom_collected(), asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        result = runner.run(work)
        return result, runner.get_loop().time()


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for garbage in cycles less often.

    A simulation makes many objects and few cycles; a fifth of its time would go into looking. What
    was there before is not looked at.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(SELDOM, OLDER, OLDER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
