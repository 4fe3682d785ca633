"""A service on a thread of its own, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from atts_serve.app import service
from atts_serve.catalogue import catalogue
from atts_serve.guard import Door
from atts_serve.server import listening
from atts_serve.viewer import Viewer

from atts_harness import plugins
from atts_harness.testing import mock_plugin

MOCK = {"backend": "mock", "draft": "d", "target": "t"}
TURNS = {**MOCK, "strategy": "mock-turns", "turns": 3, "ending": 0, "draft_tokens": 12}


class Server:
    """A service that is running.

    `do(function)` calls a function of the service in its event loop.
    """

    def __init__(self, work, port, loop):
        self.service = work
        self.port = port
        self.loop = loop
        self.url = f"http://127.0.0.1:{port}/v1"

    def do(self, function):
        async def called():
            return function(self.service)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(20)

    def wait_for(self, condition):
        """Wait until a condition of the service holds."""

        async def held():
            while not condition(self.service):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

        asyncio.run_coroutine_threadsafe(held(), self.loop).result(20)

    def client(self, **options):
        openai = pytest.importorskip("openai")
        used = {"base_url": self.url, "api_key": "none", "max_retries": 0, "timeout": 30}
        return openai.OpenAI(**{**used, **options})


@contextlib.contextmanager
def running(names=("mock-turns",), args=None, *, door=None, most=64, task="chat", **to):
    """Serve models while the block runs; `to` goes to the service."""
    served = catalogue(names, TURNS if args is None else args, task=task)
    ready, ended = threading.Event(), threading.Event()
    found = {}

    async def serve():
        leave = found["leave"] = asyncio.Event()
        async with (
            service(served, door or Door(), most=most, **to) as work,
            listening(work.application(), "127.0.0.1", 0) as port,
        ):
            found["server"] = Server(work, port, asyncio.get_running_loop())
            ready.set()
            await leave.wait()

    def thread():
        try:
            asyncio.run(serve())
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()
            ended.set()

    threading.Thread(target=thread, daemon=True).start()
    assert ready.wait(60)
    if "error" in found:
        raise found["error"]
    server = found["server"]
    try:
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.loop.call_soon_threadsafe(found["leave"].set)
        assert ended.wait(60)
    if "error" in found:
        raise found["error"]


@pytest.fixture(autouse=True)
def mock_installed():
    manager = plugins.manager()
    manager.register(mock_plugin)
    yield
    manager.unregister(mock_plugin)


@pytest.fixture(scope="module")
def shared():
    """One service for the tests of a module that leave it as it is."""
    manager = plugins.manager()
    manager.register(mock_plugin)
    try:
        with running() as server:
            manager.unregister(mock_plugin)
            yield server
    finally:
        if manager.is_registered(mock_plugin):
            manager.unregister(mock_plugin)


@pytest.fixture
def serving():
    """`running`, for tests that need a service of their own."""
    return running


@contextlib.contextmanager
def viewing(folder):
    """`atts view` of a folder while the block runs; gives its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    served = listening(Viewer(folder).application(), "127.0.0.1", 0)

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    try:
        port = do(served.__aenter__())
        yield port
        do(served.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@pytest.fixture
def viewer():
    """`viewing`, for tests."""
    return viewing
