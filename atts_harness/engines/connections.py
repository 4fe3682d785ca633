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


async def request(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes | None
) -> aiohttp.ClientResponse:
    """Send a request; once more, at once, if the connection that it went out on was an old one.

    Redirects are not followed: they would take prompts and keys to another host.

    A server closes a connection that has been idle for a while. Where the client, or the server,
    stalls for that long, a request may already be on its way there: it ends without a byte of a
    reply, and nothing was done for it. On a new connection such an end is the server's own, and
    is left to the caller.

    Args:
        session: with a `Connector`.
        method: `GET` or `POST`.
        url: whole address.
        body: what to send.

    Raises:
        aiohttp.ClientError: the request failed otherwise, or again.
    """
    opened.set(False)
    try:
        return await session.request(method, url, data=body, allow_redirects=False)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        refused = isinstance(error, aiohttp.ClientConnectorError)
        # Of a reply that began and broke off, aiohttp gives the beginning.
        began = not isinstance(getattr(error, "message", ""), str)
        if opened.get() or refused or began:
            raise
    return await session.request(method, url, data=body, allow_redirects=False)
