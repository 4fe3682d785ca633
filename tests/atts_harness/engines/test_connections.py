"""Connections that a server closes while the client, or the server itself, is stalled."""

import asyncio
import socket
import struct
import threading
import time

import msgspec
import pytest

from atts_harness.engines.http import EngineHttp
from atts_harness.errors import BackendUnavailableError, MalformedReplyError

REPLY = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"value":1}'
)
IDLE_SECONDS = 0.2


class Answer(msgspec.Struct):
    value: int


class Server:
    """Answers requests in a thread of its own: a client that stalls does not stall it.

    Args:
        end: how a connection ends that is idle, or that has had its reply: `fin` (closed after
            `IDLE_SECONDS`), `rst` (a stalled server: the next request is in its buffer when it
            closes), `head` (the next reply breaks off in its first line), `body` (behind it).
        first: whether that happens already to the first request on a connection.
        closes: how many connections end so; later ones live.
    """

    def __init__(self, end, *, first=False, closes=1000):
        self.end = end
        self.first = first
        self.left = closes
        self.requests = []
        self.connections = 0
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with self.lock:
            self.connections += 1
            ends = self.left > 0
            self.left -= 1
        with client:
            for nth in range(1000):
                last = ends and (nth > 0 or self.first)
                if last and self.end == "fin":
                    client.settimeout(IDLE_SECONDS)
                if not self._request(client):
                    return
                if last and self.end == "rst":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if last and self.end in ("head", "body"):
                    client.sendall(REPLY[: 8 if self.end == "head" else -4])
                    return
                client.sendall(REPLY)

    def _request(self, client):
        got = b""
        while not got.endswith(b"}"):
            try:
                got += (part := client.recv(65536))
            except TimeoutError:
                return False
            if not part:
                return False
        with self.lock:
            self.requests.append(got)
        return True


@pytest.fixture
def serve():
    servers = []

    def make(*args, **options):
        servers.append(Server(*args, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.socket.close()


def asked(server, *, stall=0.0, at_once=1):
    """Ask at once, stall, and ask again; what the second ones said."""

    async def run():
        http = EngineHttp(server.url, name="target_url")

        async def ask():
            try:
                return (await http.post("/x", {"a": 1}, Answer)).value
            except (BackendUnavailableError, MalformedReplyError) as error:
                return error

        try:
            assert await asyncio.gather(*(ask() for _ in range(at_once))) == [1] * at_once
            # The whole loop stalls: nobody sees that the server closes the connections.
            time.sleep(stall)  # noqa: ASYNC251 - that is the fault
            return await asyncio.gather(*(ask() for _ in range(at_once)))
        finally:
            await http.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize("at_once", [1, 16])
def test_a_client_that_stalls_asks_again_on_a_new_connection(serve, at_once):
    server = serve("fin")
    assert asked(server, stall=3 * IDLE_SECONDS, at_once=at_once) == [1] * at_once
    assert server.connections == 2 * at_once
    assert len(server.requests) == 2 * at_once  # what the closed connection got, nobody read


def test_a_server_that_stalls_and_closes_is_asked_again(serve):
    server = serve("rst")
    assert asked(server) == [1]
    assert server.connections == 2


def test_a_new_connection_that_ends_is_left_to_the_caller(serve):
    server = serve("rst", first=True)

    async def run():
        http = EngineHttp(server.url, name="target_url")
        try:
            with pytest.raises(BackendUnavailableError):
                await http.post("/x", {"a": 1}, Answer)
        finally:
            await http.aclose()

    asyncio.run(run())
    # A new connection that ends is the server's own doing: the request may be what ends it.
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["head", "body"])
def test_a_reply_that_has_begun_is_not_asked_for_again(serve, end):
    server = serve(end)
    (told,) = asked(server)
    assert isinstance(told, BackendUnavailableError | MalformedReplyError)
    assert told.retryable
    assert len(server.requests) == 2


def test_a_server_that_is_gone_is_not_there_for_the_second_try_either(serve):
    server = serve("rst")
    original = server._serve

    def serve_and_go(client):
        server.socket.close()
        original(client)

    server._serve = serve_and_go
    (told,) = asked(server)
    assert isinstance(told, BackendUnavailableError)
    assert server.connections == 1
