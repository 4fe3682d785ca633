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


async def poll_metrics(
    control: Control, journal: Journal, watchers: Observers, interval: float
) -> None:
    """Record the engines' own figures every `interval` seconds, where they tell any; 0: never."""
    if not interval or control.clock is None:
        return
    warned: set[str] = set()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for engine in control.engines:
                try:
                    figures = await engine.backend.metrics()
                except MalformedReplyError as error:
                    if engine.name not in warned:
                        logger.warning("%s: its figures are left out: %s", engine.name, error)
                    warned.add(engine.name)
                except BackendError as error:
                    logger.debug("%s: no figures: %s", engine.name, error)
                else:
                    if figures:
                        now = control.clock.now()
                        journal.record_metrics(now, engine.name, dict(figures))
                        watchers.figures(now, engine.name, figures)
            await asyncio.sleep(interval)
