"""Slots of an engine: how many calls may be in flight, and who is next.

Scores come before takeovers and takeovers before drafts; within a lane it is first come, first
served, so nobody starves: a sample's next draft cannot be asked for before its score is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from atts_harness.lanes import LANES, TARGET_LANES, Lane


class Slots:
    """Bounds what is in flight on one engine.

    Args:
        bounds: most calls in flight, by lane.
        total: most calls in flight over all lanes; 0: no further bound.
        target: most scores and takeovers in flight together; 0: no further bound.
    """

    def __init__(self, bounds: Mapping[Lane, int], total: int = 0, target: int = 0) -> None:
        self._bounds = dict(bounds)
        self._total = total
        self._target = target
        self._used: dict[Lane, int] = dict.fromkeys(LANES, 0)
        self._in_use = 0  # the sum of `_used`
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in LANES}
        self._paused = False
        self._closed = False
        self._failure: Exception | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_use(self) -> int:
        """Slots in use."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return sum(1 for queue in self._waiting.values() for call in queue if not call.done())

    def bound(self, lane: Lane) -> int:
        """Most calls of a lane that can be in flight."""
        further = [self._total, self._target if lane in TARGET_LANES else 0]
        return min([self._bounds[lane], *(limit for limit in further if limit)])

    def same_bounds(self, other: Slots) -> bool:
        """Whether both have the same bounds."""
        mine = (self._bounds, self._total, self._target)
        return mine == (other._bounds, other._total, other._target)

    async def acquire(self, lane: Lane, *, again: bool = False) -> None:
        """Wait for a slot and take it.

        Args:
            lane: of the call.
            again: the call has waited before (a retry) and goes to the front of its lane.

        Raises:
            Exception: the error given to `fail`.
        """
        if self._failure is not None:
            raise self._failure
        shut = self._paused or self._closed
        if not shut and not self._waiting[lane] and self._fits(lane):
            self._take(lane)
            return
        turn = asyncio.get_running_loop().create_future()
        queue = self._waiting[lane]
        if again:
            queue.appendleft(turn)
        else:
            queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(lane)  # the slot came in the same moment
            else:
                turn.cancel()
            raise

    def release(self, lane: Lane) -> None:
        """Give a slot back; the most urgent call that fits takes it."""
        self._used[lane] -= 1
        self._in_use -= 1
        self._admit()
        if not self._in_use:
            self._idle.set()

    def pause(self) -> None:
        """Let no call in for now; calls in flight go on."""
        self._paused = True

    def resume(self) -> None:
        """Let calls in again."""
        self._paused = False
        self._admit()

    def admit_one(self) -> bool:
        """While paused, let a single call through, if one waits."""
        return self._admit_next()

    def close(self) -> None:
        """Let no call in any more; calls in flight go on, and waiting calls stay waiting."""
        self._closed = True

    def fail(self, error: Exception) -> None:
        """End every wait for a slot, now and later, with `error`."""
        self._failure = error
        self.dismiss(error)

    def dismiss(self, error: Exception) -> None:
        """End the present waits with `error`; later calls wait as before."""
        for queue in self._waiting.values():
            for turn in queue:
                if not turn.done():
                    turn.set_exception(error)
            queue.clear()

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()

    def _take(self, lane: Lane) -> None:
        self._used[lane] += 1
        self._in_use += 1
        self._idle.clear()

    def _fits(self, lane: Lane) -> bool:
        if self._used[lane] >= self._bounds[lane]:
            return False
        if self._total and self._in_use >= self._total:
            return False
        if self._target and lane in TARGET_LANES:
            return self._used["score"] + self._used["takeover"] < self._target
        return True

    def _admit(self) -> None:
        if not self._paused:
            while self._admit_next():
                pass

    def _admit_next(self) -> bool:
        if self._closed:
            return False
        for lane in LANES:
            queue = self._waiting[lane]
            while queue and queue[0].done():
                queue.popleft()
            if queue and self._fits(lane):
                self._take(lane)
                queue.popleft().set_result(None)
                return True
        return False
