"""A run's clock."""

from __future__ import annotations

import asyncio


class Clock:
    """Seconds that a run has run: earlier sessions count, the pauses between them do not.

    It reads the event loop's clock, so a loop with a simulated clock simulates the run's too.

    Args:
        offset: what the run's clock showed when the last session ended.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time() - offset

    def now(self) -> float:
        """Seconds since the run's start."""
        return self._loop.time() - self._zero
