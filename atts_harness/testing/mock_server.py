"""A mock engine behind HTTP, in SGLang's or vLLM's dialect.

    python -m atts_harness.testing.mock_server --dialect sglang --tokenizer FOLDER --port 31000

or, in a program, `async with MockServer(engine, "vllm") as server: ... server.url`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

import msgspec
from aiohttp import web

from atts_harness.testing import mock_hostile
from atts_harness.testing.mock_dialects import DIALECTS, DialectName, MockDialect, WireError, encode
from atts_harness.testing.mock_engine import EngineFaultError, MockEngine, random_text
from atts_harness.testing.mock_faults import FAULTS, HOSTILE, Fault, FaultPlan
from atts_harness.testing.mock_latency import per_token

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VERSION = "0.0.0+mock"


class MockServer:
    """Serves a mock engine, by default on 127.0.0.1. Use as an async context manager.

    Args:
        engine: answers the requests.
        dialect: format of requests and replies.
        model: its served name, and the folder of its tokenizer where there is one.
        port: 0: a free one.
        host: the address to listen on.

    Attributes:
        url: its address, once it runs.
    """

    def __init__(
        self,
        engine: MockEngine,
        dialect: DialectName = "sglang",
        *,
        model: str = "mock",
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.engine = engine
        self.dialect: MockDialect = DIALECTS[dialect]
        self.model = model
        self.port = port
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 28)
        app.add_routes([web.post(self.dialect.route, self._serve), *self._info_routes()])
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await self.come_back()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def go_away(self) -> None:
        """Refuse new connections and break open ones off."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        self.engine.gone = True

    async def come_back(self) -> None:
        """Listen (again), on the same port."""
        assert self._runner is not None
        self.engine.gone = False
        self._site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://{self.host}:{self.port}"

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        if self.engine.gone:
            return _broken_off(http)
        try:
            sent = msgspec.json.decode(await http.read())
            request = self.dialect.parse(sent, self.engine)
        except (WireError, msgspec.DecodeError) as error:
            return _json(self.dialect.refuse(str(error)), 400)
        try:
            reply = await self.engine.serve(request)
        except EngineFaultError as error:
            return self._faulty(http, sent, request, error)
        if self.engine.gone:
            return _broken_off(http)
        body = self.dialect.render(request, reply, self.engine)
        _name(body, sent)
        return _json(body)

    def _faulty(
        self, http: web.Request, sent: Any, request: Any, error: EngineFaultError
    ) -> web.Response:
        fault: Fault = error.fault
        if fault == "500":
            return _json(self.dialect.refuse("mock: internal error"), 500)
        if fault == "429":
            seconds = f"{self.engine.faults.retry_after:g}"
            body = self.dialect.refuse("mock: too many requests")
            return _json(body, 429, {"Retry-After": seconds})
        if fault == "reset" or error.reply is None:
            return _broken_off(http, begun=True)
        body = self.dialect.render(request, error.reply, self.engine)
        _name(body, sent)
        if fault in HOSTILE:
            return mock_hostile.answer(fault, http, body, self.engine.tokenizer.vocab_size)
        if fault == "truncated":
            raw = encode(body)
            return web.Response(body=raw[: len(raw) // 2], content_type="application/json")
        assert fault in FAULTS
        self.dialect.spoil(body, fault)
        # Not msgspec: it would write null where a sloppy server writes NaN.
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")

    def _info_routes(self) -> list[web.RouteDef]:
        limit = self.engine.max_length
        model = {"id": self.model, "root": self.model, "max_model_len": limit, "object": "model"}
        bodies: dict[str, dict[str, Any]] = {
            "/health": {},
            "/v1/models": {"object": "list", "data": [model]},
        }
        if self.dialect.name == "sglang":
            info = {
                "model_path": self.model,
                "served_model_name": self.model,
                "tokenizer_path": self.model,
                "is_generation": True,
            }
            server = {**info, "version": VERSION, "max_req_input_len": limit, "dtype": "float32"}
            bodies |= {"/model_info": info, "/get_model_info": info}
            bodies |= {"/server_info": server, "/get_server_info": server}
        else:
            bodies["/version"] = {"version": VERSION}
        routes = [web.get(path, self._reply_with(body)) for path, body in bodies.items()]
        routes.append(web.post("/tokenize", self._tokenize))
        routes.append(web.post("/abort_request", self._reply_with({})))
        routes.append(web.get("/metrics", self._metrics))
        routes.append(web.get("/mock/log", self._log))
        return routes

    def _reply_with(self, body: dict[str, Any]) -> Handler:
        async def handle(http: web.Request) -> web.StreamResponse:
            return _broken_off(http) if self.engine.gone else _json(body)

        return handle

    async def _tokenize(self, http: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await http.read())
        tokens = self.engine.tokenizer.encode(body["prompt"])
        return _json({"tokens": tokens, "count": len(tokens), "max_model_len": 0})

    async def _metrics(self, http: web.Request) -> web.StreamResponse:
        """The engine's figures in Prometheus' text format."""
        if self.engine.gone:
            return _broken_off(http)
        names, figures = self.dialect.figures, self.engine.figures()
        lines = [f'{names[name]}{{model_name="{self.model}"}} {figures[name]}' for name in names]
        return web.Response(text="\n".join(lines) + "\n")

    async def _log(self, http: web.Request) -> web.StreamResponse:
        """Every try so far: key, fault and time."""
        return _json([(e.key, e.fault, e.at) for e in self.engine.log])


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=encode(body), status=status, headers=headers, content_type="application/json"
    )


def _name(body: dict[str, Any], sent: Any) -> None:
    """Put the request's id into a reply of SGLang's."""
    if "meta_info" in body:
        body["meta_info"]["id"] = sent.get("rid", "mock")


def _broken_off(http: web.Request, *, begun: bool = False) -> web.Response:
    """No reply: the connection is reset.

    Args:
        http: the request.
        begun: after the first line of a reply. Else a client may think that the connection had
            been idle for too long, and send the request again by itself.
    """
    if http.transport is not None:
        if begun:
            http.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n")
            http.transport.close()
        else:
            http.transport.abort()
    return web.Response(status=500)


def main() -> None:
    """Serve until interrupted; the first line of output is the URL."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--dialect", choices=sorted(DIALECTS), default="sglang", help="whose server"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: a free one; it is printed")
    parser.add_argument("--slots", type=int, default=16, help="requests at once")
    parser.add_argument("--seed", type=int, default=0, help="of replies and faults")
    parser.add_argument("--base", type=float, default=0.0, help="seconds a request")
    parser.add_argument("--prefill", type=float, default=0.0, help="seconds an uncached token")
    parser.add_argument("--decode", type=float, default=0.0, help="seconds a written token")
    parser.add_argument("--length", type=int, default=64, help="most tokens of a generation")
    parser.add_argument("--tokenizer", help="folder or hub id; by default one token a byte")
    parser.add_argument("--no-log", action="store_true", help="keep no log of requests")
    for fault in (*FAULTS, *HOSTILE):
        parser.add_argument(f"--fault-{fault}", type=float, default=0.0, metavar="RATE")
    args = parser.parse_args()
    rates = {
        fault: getattr(args, f"fault_{fault.replace('-', '_')}") for fault in (*FAULTS, *HOSTILE)
    }
    engine = MockEngine(
        slots=args.slots,
        seed=args.seed,
        latency=per_token(args.base, args.prefill, args.decode),
        faults=FaultPlan({fault: rate for fault, rate in rates.items() if rate}),
        keep_log=not args.no_log,
    )
    if args.tokenizer:
        from atts_harness.tokenizer import load_tokenizer

        engine.tokenizer = load_tokenizer(args.tokenizer)
        alphabet = engine.tokenizer.encode("a plain sentence, to draw words from: so they are.")
        engine.writer = random_text(
            alphabet, min(engine.tokenizer.eos_ids), (min(8, args.length), args.length)
        )
    model = args.tokenizer or "mock"

    async def serve() -> None:
        server = MockServer(engine, args.dialect, model=model, port=args.port, host=args.host)
        async with server:
            print(server.url, flush=True)
            await asyncio.Event().wait()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
