"""A connection pool that knows whether a request went out on a connection that was used before."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

# Whether the request that is going out in this context opened its connection itself.
opened: ContextVar[bool] = ContextVar("opened", default=False)


class Connector(aiohttp.TCPConnector):
    """Says by `opened` that a connection is a new one.

    Tracing would tell it too, but costs every request; a pool of a later aiohttp that names its
    method otherwise says it of no connection, and then one more request goes out than has to.
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
"""How a request ends that may have met a connection that was just being closed."""


def began(error: aiohttp.ClientError) -> bool:
    """Whether there was more to a request that ended so than a connection that was closed.

    A server closes a connection that has been idle for a while. Where the client, or the server,
    stalls for that long, a request may already be on its way there: it ends without a byte of a
    reply, and nothing was done for it, so it is sent once more, at once. On a connection that the
    request opened itself such an end is the server's own, and is left to the caller.

    Args:
        error: one of `ENDED`.

    Returns:
        True where no connection was made, or a reply began and broke off.
    """
    # Of a reply that began and broke off, aiohttp gives the beginning.
    return isinstance(error, aiohttp.ClientConnectorError) or not isinstance(
        getattr(error, "message", ""), str
    )
