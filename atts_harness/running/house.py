"""Models that many live sessions share: every engine is opened once, and its slots bound them all.

    async with House() as house:
        async with house.session(settings) as (session, models):
            record = await session.sample(problem)

A session is one set of settings with a journal of its own. A service with several sets at once
(other strategies, another rate) keeps a session for each, over the same engines.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from atts_harness import neutral
from atts_harness.backend import Backend, BackendOptions, BackendSpec, Role
from atts_harness.errors import SettingError
from atts_harness.grading.extraction import LLM, extractors_of
from atts_harness.journal.directory import RunDirectory
from atts_harness.ledger.prices import prices_of
from atts_harness.private import make_folder
from atts_harness.running.clock import Clock
from atts_harness.running.engine import Engine
from atts_harness.running.live import Open, directory_of, live_session
from atts_harness.running.logs import log_to
from atts_harness.running.observers import Observers
from atts_harness.running.opening import RunModels, engines_of, open_models
from atts_harness.settings import Settings

logger = neutral.logger("atts_harness.running")

CLOSE_SECONDS = 15.0

Spec = BackendSpec[BackendOptions]


class House:
    """Engines that sessions share. Use as `async with`; sessions end before it does.

    The house waits without end for an engine that is gone: a call that waited for
    `engine_timeout` fails, and a later call waits anew.

    Args:
        folder: where its log goes; None: it has none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._backends: dict[Spec, Backend] = {}
        self._engines: dict[int, Engine] = {}
        self._opening = asyncio.Lock()
        self._clock = Clock(0.0)
        self._exit = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        """Begin its log."""
        if self._folder is not None:
            make_folder(self._folder, link=True)
            self._exit.enter_context(log_to(self._folder / "run.log"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engines; servers that were started end."""
        with self._exit:
            for engine in self._engines.values():
                await engine.aclose()
            closing = (self._close(backend) for backend in self._backends.values())
            await asyncio.gather(*closing, return_exceptions=True)

    @property
    def engines(self) -> list[Engine]:
        """All open engines."""
        return list(self._engines.values())

    def wind_down(self) -> None:
        """Begin no more calls; those in flight go on."""
        for engine in self._engines.values():
            engine.slots.close()

    async def models(self, settings: Settings, directory: RunDirectory | None = None) -> RunModels:
        """The models of some settings, opened if they are not open yet.

        Args:
            settings: of a session.
            directory: where the session is recorded; see `opening.open_models`.

        Raises:
            SettingError: a model cannot be opened, or cannot do what the strategy needs; or the
            answers would be extracted by a model.
        """
        prices_of(settings.run)
        if LLM in extractors_of(settings.run.extractor):
            raise SettingError(
                "extractor: a model extracts the answers of a batch, and a service has no answers "
                "to grade; leave extractor out"
            )
        async with self._opening:
            models = await open_models(settings, None, directory, self._backends)
            engines = engines_of(models.backends, settings.run, self._clock)
            for engine in engines.values():
                existing = self._engines.get(id(engine.backend))
                if existing is None:
                    engine.lasting = True
                    engine.watch()
                    self._engines[id(engine.backend)] = engine
                elif not existing.slots.same_bounds(engine.slots):
                    logger.warning(
                        "%s: settings with other limits of calls in flight share this engine; the "
                        "limits of those that opened it hold",
                        existing.name,
                    )
        return models

    @contextlib.asynccontextmanager
    async def session(
        self, settings: Settings, observers: Observers | None = None
    ) -> AsyncIterator[Open]:
        """A live session over the house's engines.

        Args:
            settings: of the session; with `run_dir` it is recorded, and goes on where an earlier
                session stopped.
            observers: called with every record; by default the plugins' hooks.

        Raises:
            SettingError: the settings do not fit together, or a model cannot be opened.
            JournalError: the run directory cannot be used, or holds something else.
        """
        directory = directory_of(settings)
        try:
            models = await self.models(settings, directory)
            engines: dict[Role, Engine] = {
                role: self._engines[id(backend)] for role, backend in models.backends.items()
            }
            live = live_session(models, directory, observers, engines=engines)
            async with live as session:
                yield Open(session, models)
        finally:
            if directory is not None:
                directory.close()

    async def _close(self, backend: Backend) -> None:
        async with asyncio.timeout(CLOSE_SECONDS):
            await backend.aclose()
