"""Listens, serves, and ends: a signal lets what is in flight finish for a moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from atts_harness.errors import SettingError

SHUTDOWN_SECONDS = 5.0
LINGERING_SECONDS = 1.0  # in which the rest of a refused body may come
BACKLOG = 2048


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """An application that is served while the block runs.

    Args:
        app: what is served.
        host: the address.
        port: 0: a free one.

    Yields:
        The port.

    Raises:
        SettingError: the address cannot be listened on.
    """
    # A request that is not HTTP gets a status only; the application logs its own failures.
    quiet = logging.getLogger("atts_serve.http")
    quiet.setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        logger=quiet,
        shutdown_timeout=SHUTDOWN_SECONDS,
        lingering_time=LINGERING_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG)
        try:
            await site.start()
        except (OSError, socket.gaierror) as error:
            raise SettingError(
                f"--host {host} --port {port}: cannot be listened on ({error.strerror}); give "
                "another"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def until_signal(ready: Callable[[], None]) -> None:
    """Wait for Ctrl-C or SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ready()
    await stop.wait()
