"""A recorder between a client and the service: what was asked, and what came back."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import aiohttp
from aiohttp import web


class Recorder:
    """Passes requests on. Use with `with`.

    Attributes:
        url: the address for clients.
        calls: (body of the request, body of the reply), in the order of replies.
    """

    def __init__(self, port):
        self.calls = []
        self._port = port
        self._ready = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(20)

    async def _run(self):
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            forever = aiohttp.ClientTimeout(total=None)
            self._client = await stack.enter_async_context(aiohttp.ClientSession(timeout=forever))
            app = web.Application(client_max_size=1 << 24)
            app.router.add_route("*", "/{path:.*}", self._pass)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}/v1"
            self._ready.set()
            await self._leave.wait()

    async def _pass(self, request):
        body = await request.read()
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "authorization", "accept")
        }
        address = f"http://127.0.0.1:{self._port}{request.path_qs}"
        async with self._client.request(request.method, address, data=body, headers=kept) as answer:
            text = await answer.read()
            if request.method == "POST":
                self.calls.append((body, text))
            return web.Response(status=answer.status, body=text, content_type=answer.content_type)
