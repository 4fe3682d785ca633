"""The endpoint: paths, and what is done for each."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from atts_harness import neutral
from atts_harness.errors import SettingError
from atts_harness.running.house import House
from atts_serve import chat
from atts_serve.catalogue import Catalogue
from atts_serve.claims import Claims
from atts_serve.defaults import CHAT
from atts_serve.guard import Door, middleware
from atts_serve.metrics import Metrics
from atts_serve.naming import Named, fingerprint, named
from atts_serve.pages import add_page
from atts_serve.refusal import failed
from atts_serve.reply import Heading, RecordReader, encode
from atts_serve.rooms import Room, Rooms
from atts_serve.stream import Stream
from atts_serve.works import Works

logger = neutral.logger("atts_serve")

EVENT_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


@dataclass
class Service:
    """What the handlers share.

    Attributes:
        catalogue: the served models.
        door: the checks that a request must pass.
        house: the engines.
        rooms: the sessions.
        works: the samples in progress.
        claims: the ids of requests.
        problems: for the page to pick from.
        thoughts: `apart`: in `reasoning_content`; `within`: in the text. A request may choose.
        metrics: counters.
    """

    catalogue: Catalogue
    door: Door
    house: House
    rooms: Rooms
    works: Works
    claims: Claims
    problems: Sequence[str] = ()
    thoughts: str = "apart"
    metrics: Metrics = field(default_factory=Metrics)
    started: int = field(default_factory=lambda: int(time.time()))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`."""
        raw = await self.door.body(request)
        chat_request = chat.read(raw)
        variation = self.catalogue.variation(chat_request)
        heading = Heading(f"chatcmpl-{secrets.token_hex(12)}", chat_request.model, int(time.time()))
        name: str | None = None
        if (id_ := request.headers.get("Idempotency-Key")) is not None:
            claim = self.claims.claim(id_, self.door.owner(request), fingerprint(chat_request))
            name = claim.name
            heading = Heading(f"chatcmpl-{claim.name[:24]}", chat_request.model, claim.created)
        with (
            self.works.promise(chat_request.n),
            self.metrics.request(chat_request.model) as count_reply,
        ):
            async with self.rooms.room(variation) as room:
                named_samples = named(chat_request, room, self.catalogue.task, name)
                apart = (chat_request.thoughts or self.thoughts) == "apart"
                reader = RecordReader.of(named_samples.problem, room, apart=apart)
                if chat_request.stream:
                    stream = Stream(
                        heading, reader, chat_request.include_usage, chat_request.events
                    )
                    reply = await self._streamed(request, room, named_samples, stream)
                else:
                    reply = await self._whole(room, named_samples, heading, reader)
                count_reply(reply.status)
                return reply

    async def _whole(
        self, room: Room, named_samples: Named, heading: Heading, reader: RecordReader
    ) -> web.StreamResponse:
        async with self.works.samples(room, named_samples) as works:
            batches = await asyncio.gather(*(asyncio.shield(work.task) for work in works))
        records = [record for records in batches for record in records]
        for record in records:
            if record.failed is not None:
                logger.error("a request's sample failed: %s", record.failed)
                raise failed()
            self.metrics.sample(heading.model, record)
        choices = [reader.choice(index, record) for index, record in enumerate(records)]
        body = heading.object("chat.completion", choices, usage=reader.usage(records))
        return web.Response(body=encode(body), content_type="application/json")

    async def _streamed(
        self, request: web.Request, room: Room, named_samples: Named, stream: Stream
    ) -> web.StreamResponse:
        listeners = [stream.listener(index) for index in range(len(named_samples.repeats))]
        async with self.works.samples(room, named_samples, listeners) as works:
            reply = web.StreamResponse(headers=EVENT_STREAM)
            await reply.prepare(request)
            async for part in stream.parts(works):
                await reply.write(part)
            for record in stream.records:
                self.metrics.sample(stream.heading.model, record)
            await reply.write_eof()
        return reply

    async def models(self, request: web.Request) -> web.Response:
        """`GET /v1/models`, and of one of them."""
        listed = [self._model(name) for name in self.catalogue.models]
        return web.json_response({"object": "list", "data": listed})

    async def model(self, request: web.Request) -> web.Response:
        """`GET /v1/models/NAME`."""
        name = request.match_info["name"]
        if name not in self.catalogue.models:
            raise web.HTTPNotFound
        return web.json_response(self._model(name))

    def _model(self, name: str) -> dict[str, object]:
        served = self.catalogue.models[name]
        return {
            "id": name,
            "object": "model",
            "created": self.started,
            "owned_by": "atts-harness",
            "atts": {"strategy": served.settings.strategy.name, "options": served.options()},
        }

    async def health(self, request: web.Request) -> web.Response:
        """`GET /health`: 200 while every engine is there, else 503."""
        gone = any(engine.gone for engine in self.house.engines)
        state = {"status": "an engine is gone" if gone else "ok"}
        return web.json_response(state, status=503 if gone else 200)

    async def figures(self, request: web.Request) -> web.Response:
        """`GET /metrics`."""
        text = self.metrics.text(self.works, self.house.engines)
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    def application(self) -> web.Application:
        """The web application: its routes, behind the checks of keys and sizes (`Door`)."""
        app = web.Application(
            middlewares=[middleware(self.door)], client_max_size=self.door.body_bytes
        )
        app.router.add_post("/v1/chat/completions", self.completions)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name}", self.model)
        app.router.add_get("/health", self.health)
        add_page(app, live=True, key=bool(self.door.keys), problems=self.problems)
        app.router.add_get("/metrics", self.figures)
        return app


def _check_bank(room: Room, task: str) -> None:
    """Check that a model's bank is for the task of requests that name no task.

    Raises:
        SettingError: it is not, and the command line named that task.
    """
    try:
        room.models.strategy(room.variation.task, {"task": task})
    except SettingError as error:
        if task != CHAT:
            raise
        logger.warning(
            "%s: requests have to name a task that its bank is for, as atts: {task, doc}, or the "
            "server is given one by --task (%s)",
            room.variation.served.name,
            error,
        )


@contextlib.asynccontextmanager
async def service(
    catalogue: Catalogue,
    door: Door,
    *,
    most: int,
    live: int = 0,
    problems: Sequence[str] = (),
    thoughts: str = "apart",
) -> AsyncIterator[Service]:
    """A service with its models open.

    Args:
        catalogue: the served models.
        door: the checks that a request must pass.
        most: samples in progress; more are refused.
        live: of these, samples that are begun and not finished; 0: no further bound.
        problems: see `Service`.
        thoughts: likewise.

    Raises:
        SettingError: a model cannot be opened.
        RunDirError: the run directory cannot be used.
    """
    async with House(catalogue.run_dir) as house:
        claims = Claims(catalogue.run_dir)
        rooms = Rooms(house)
        try:
            # Whatever cannot be opened is told now, and not to the first client.
            for name in catalogue.models:
                async with rooms.room(catalogue.variation(chat.ChatRequest(name, ()))) as room:
                    _check_bank(room, catalogue.task)
            works = Works(most, live)
            yield Service(catalogue, door, house, rooms, works, claims, problems, thoughts)
        finally:
            house.wind_down()
            await rooms.aclose()
            claims.close()
