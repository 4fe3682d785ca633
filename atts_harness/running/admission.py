"""Admission: how many samples may be begun and not finished; first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from atts_harness.running.control import Control


class Admission:
    """Lets samples begin while there is room.

    Args:
        control: counts the live samples.
        bound: most live samples; 0: no bound. A larger group may begin while no sample is live.
    """

    def __init__(self, control: Control, bound: int) -> None:
        self._control = control
        self._bound = bound
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._over: Exception | None = None

    async def admit(self, count: int) -> None:
        """Wait until `count` samples may begin together.

        Raises:
            Exception: the error given to `close`.
        """
        if self._over is not None:
            raise self._over
        if not self._waiting and self._fits(count):
            self._control.live += count
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, count))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(count)  # its turn came in the same moment
            raise

    def leave(self, count: int = 1) -> None:
        """Count samples as done, and let waiting ones begin."""
        self._control.live -= count
        while self._waiting:
            turn, size = self._waiting[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._control.live += size
                turn.set_result(None)
            self._waiting.popleft()

    def close(self, error: Exception) -> None:
        """End every wait, now and later, with `error`."""
        self._over = error
        for turn, _ in self._waiting:
            if not turn.done():
                turn.set_exception(error)
        self._waiting.clear()

    def _fits(self, count: int) -> bool:
        return (
            not self._bound or not self._control.live or self._control.live + count <= self._bound
        )
