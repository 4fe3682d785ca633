"""A run from the outside while it runs: what it does, and the wish that it stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from atts_harness.running.clock import Clock
from atts_harness.running.engine import Engine


@dataclass
class Control:
    """State that a run shares with the code that watches or stops it.

    Attributes:
        engines: once the run has begun.
        clock: once the run has begun.
        total: samples asked for.
        done: samples finished, failed ones included.
        failed: samples that failed for good.
        live: samples begun and not finished.
    """

    engines: Sequence[Engine] = ()
    clock: Clock | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    live: int = 0
    _wish: str = ""
    _loop: asyncio.AbstractEventLoop | None = None
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, why: str) -> None:
        """Ask the run to wind down; from any thread, also before it has begun."""
        self._wish = why
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._asked.set)

    async def asked_to_stop(self) -> str:
        """Wait until someone wants the run to stop; returns why."""
        self._loop = asyncio.get_running_loop()
        if not self._wish:
            await self._asked.wait()
        return self._wish
