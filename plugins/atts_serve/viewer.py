"""`atts view`: the page for a run directory. It listens on this machine only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from aiohttp import web

from atts_harness.errors import RunDirError
from atts_harness.records import SampleId
from atts_serve import recorded
from atts_serve.guard import Door, middleware
from atts_serve.pages import HEADERS, add_page
from atts_serve.refusal import Refusal, bad


class Viewer:
    """What the handlers share.

    Args:
        folder: a run directory, or a folder of some.

    Raises:
        RunDirError: there is no run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        recorded.runs_in(folder)

    async def runs(self, request: web.Request) -> web.Response:
        """`GET /recorded/runs`."""
        return _json({"runs": recorded.runs_in(self._folder)})

    async def samples(self, request: web.Request) -> web.Response:
        """`GET /recorded/samples?run=NAME`."""
        return _json(await asyncio.to_thread(recorded.samples, self._run(request)))

    async def sample(self, request: web.Request) -> web.Response:
        """`GET /recorded/sample?run=NAME&task=TASK&doc=N&repeat=N`."""
        query = request.query
        try:
            id_ = SampleId(query["task"], int(query["doc"]), int(query["repeat"]))
        except (KeyError, ValueError) as error:
            raise bad("a sample has a task, a doc and a repeat") from error
        sample = await asyncio.to_thread(recorded.sample, self._run(request), id_)
        if sample is None:
            raise Refusal(404, "the run has no such sample")
        return _json(sample)

    def application(self) -> web.Application:
        """The web application: its routes, behind the checks of requests (`Door`)."""
        app = web.Application(middlewares=[middleware(Door())])
        add_page(app, live=False)
        app.router.add_get("/recorded/runs", self.runs)
        app.router.add_get("/recorded/samples", self.samples)
        app.router.add_get("/recorded/sample", self.sample)
        return app

    def _run(self, request: web.Request) -> Path:
        name = request.query.get("run", "")
        try:
            names = recorded.runs_in(self._folder)
        except RunDirError as error:
            raise Refusal(404, "the run is no longer there") from error
        if name not in names:
            raise Refusal(404, "there is no such run")
        return self._folder / name


def _json(body: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), content_type="application/json", headers=HEADERS
    )
