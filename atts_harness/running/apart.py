"""A live session in a separate thread with its own event loop.

A framework with an event loop of its own calls the session from there: the session's work does not
block that loop, and the framework's drawing on a terminal does not delay the engines. The session
also outlives the framework's loops; a process may have several of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from atts_harness.neutral import logger
from atts_harness.running.harness import CLOSE_SECONDS, HURRIED_SECONDS, Harness, cancel_all
from atts_harness.running.live import Open
from atts_harness.settings import Settings

__all__ = ["SessionApart"]

T = TypeVar("T")
log = logger("atts_harness.running")


@dataclass
class _Running:
    """A loop in its thread, and the session in it."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    opened: Future[Open] = field(default_factory=Future)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, settings: Settings) -> None:
        """Keep the session open until it has to stop."""
        try:
            async with Harness.live(settings) as live:
                self.opened.set_result(live)
                await self.stop.wait()
        except Exception as error:
            if self.opened.done():
                log.error("the session did not close well: %s", error)
            else:
                self.opened.set_exception(error)


class SessionApart:
    """Opens with the first question, and stays open until it is closed; from any thread.

    After `close` the next question opens it anew: with `run_dir` it goes on where it was.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._ended: Future[None] = Future()

    def ask(self, work: Callable[[Open], Awaitable[T]]) -> Future[T]:
        """Do some work in the session's loop.

        Args:
            work: of the open session.

        Returns:
            The result, or the error: a `SettingError` or `JournalError` if the session cannot be
            opened. Cancelling it cancels the work.
        """
        with self._lock:
            running = self._running or self._begin()

            async def do() -> T:
                live = await asyncio.shield(asyncio.wrap_future(running.opened))
                return await work(live)

            return asyncio.run_coroutine_threadsafe(do(), running.loop)

    def close(self) -> None:
        """Close it; calls in flight get a moment to finish, and servers that it started end."""
        with self._lock:
            running, self._running = self._running, None
            if running is None:
                return
            loop = running.loop
            loop.call_soon_threadsafe(running.stop.set)
            try:
                self._ended.result(2 * CLOSE_SECONDS)
                cancellation = asyncio.run_coroutine_threadsafe(cancel_all(HURRIED_SECONDS), loop)
                cancellation.result(HURRIED_SECONDS + 1)
            except TimeoutError:
                log.warning("the session does not close; leaving it behind")
                return  # its thread is a daemon
            loop.call_soon_threadsafe(loop.stop)
            running.thread.join()
            loop.close()

    def _begin(self) -> _Running:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="atts-session", daemon=True)
        thread.start()
        self._running = running = _Running(loop, thread)
        self._ended = asyncio.run_coroutine_threadsafe(running.hold(self.settings), loop)
        return running
