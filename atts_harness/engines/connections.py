"""A connection pool that tells whether a request opened its connection or reused one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

# Whether the request that is sent in this context opened its connection itself.
opened: ContextVar[bool] = ContextVar("opened", default=False)


class Connector(aiohttp.TCPConnector):
    """Sets `opened` when a request opens a new connection.

    Tracing could tell it too, but costs time in every request. Should a later aiohttp rename the
    method below, `opened` is never set, and some failed requests are sent once more than needed.
    """

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp has it
    ) -> ResponseHandler:
        opened.set(True)
        return await super()._create_connection(req, traces, timeout)


ENDED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""Errors of a request that may have met a connection just as the server closed it."""


def is_final(error: aiohttp.ClientError) -> bool:
    """Whether a failed request met something worse than a connection that was just closed.

    A server closes a connection that has been idle for a while. If the client or the server
    stalls for that long, a request may already be on its way: it ends without a byte of a reply,
    and the server did nothing for it, so it is sent once more, at once. On a connection that the
    request opened itself, such an end is the server's fault and is left to the caller.

    Args:
        error: one of `ENDED`.

    Returns:
        True if no connection was made, or a reply began and broke off.
    """
    # For a reply that began and broke off, aiohttp gives the beginning.
    return isinstance(error, aiohttp.ClientConnectorError) or not isinstance(
        getattr(error, "message", ""), str
    )
