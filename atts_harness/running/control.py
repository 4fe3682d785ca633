"""The state of a run in progress, for the code that watches it, and the request to stop it."""

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
    _reason: str = ""
    _loop: asyncio.AbstractEventLoop | None = None
    _stop_requested: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, reason: str) -> None:
        """Ask the run to wind down; from any thread, also before it has begun."""
        self._reason = reason
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop_requested.set)

    async def asked_to_stop(self) -> str:
        """Wait for a request to stop the run; returns its reason."""
        self._loop = asyncio.get_running_loop()
        if not self._reason:
            await self._stop_requested.wait()
        return self._reason
