"""The engines' own figures, asked for while a run goes."""

from __future__ import annotations

import asyncio
import contextlib

from atts_harness import neutral
from atts_harness.errors import BackendError, MalformedReplyError
from atts_harness.journal.contract import Journal
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers

logger = neutral.logger("atts_harness.running")


LAST_LOOK_SECONDS = 5.0
"""Most seconds that the engines have for their figures when a run ends."""


class Polling:
    """Records the engines' own figures every `interval` seconds, where they tell any; 0: never."""

    def __init__(
        self, control: Control, journal: Journal, watchers: Observers, interval: float
    ) -> None:
        self._control, self._journal, self._watchers = control, journal, watchers
        self._interval = interval
        self._warned: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once, and again after every interval, until this is stopped."""
        if self._interval:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(self._interval)

    async def look_last(self) -> None:
        """Look a last time: counters of an engine say what a run did by their growth."""
        if not self._interval:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                await self._look()

    async def _look(self) -> None:
        assert self._control.clock is not None
        for engine in self._control.engines:
            try:
                figures = await engine.backend.metrics()
            except MalformedReplyError as error:
                if engine.name not in self._warned:
                    logger.warning("%s: its figures are left out: %s", engine.name, error)
                self._warned.add(engine.name)
            except BackendError as error:
                logger.debug("%s: no figures: %s", engine.name, error)
            else:
                if figures:
                    now = self._control.clock.now()
                    self._journal.record_metrics(now, engine.name, dict(figures))
                    self._watchers.figures(now, engine.name, figures)
