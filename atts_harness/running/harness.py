"""A run from the outside: opens models, runs batches or a live session, closes everything.

A batch runs in an event loop of the harness's own, in a thread of its own, so that it works from a
script, from lm-eval and from a notebook whose loop is already running. A live session runs in the
loop that asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from atts_harness import neutral
from atts_harness.backend import Backend, Role
from atts_harness.ledger.prices import prices_of
from atts_harness.records import RunRecord, SampleRecord
from atts_harness.running.books import RunSummary
from atts_harness.running.extraction import open_extractor
from atts_harness.running.live import Open, directory_of, live_session
from atts_harness.running.observers import Observers
from atts_harness.running.opening import RunModels, check_contexts, open_models
from atts_harness.running.run import Run
from atts_harness.running.session import Session
from atts_harness.settings import Settings
from atts_harness.strategy import Group, Strategy

T = TypeVar("T")
logger = neutral.logger("atts_harness.running")

CLOSE_SECONDS = 15.0
HURRIED_SECONDS = 2.0


class Harness:
    """One set of models and settings, ready to run groups.

    Use as a context manager: inside it, models are open and the run directory is locked.
    `summary` is that of the last run. For samples that come one by one, see `serving`.

    Raises:
        SettingError: the settings do not fit together, or a model cannot be opened.
        RunDirError: the run directory cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.summary = RunSummary()
        self._hurried = False
        # A malformed price or a missing endpoint surfaces now, not after the models are loaded.
        prices_of(settings.run)
        extractor = open_extractor(settings.run)
        self._directory = directory_of(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="atts", daemon=True)
        self._thread.start()
        try:
            self._models: RunModels = self._await(open_models(settings, extractor, self._directory))
        except BaseException:
            self._stop_loop()
            self._release_directory()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @staticmethod
    @contextlib.asynccontextmanager
    async def serving(
        settings: Settings, observers: Observers | None = None
    ) -> AsyncIterator[Session]:
        """A live session in the running event loop: samples are asked for as they come.

            async with Harness.serving(settings) as session:
                record = await session.sample(problem)

        With `run_dir` it is recorded, and goes on where an earlier session stopped. On leaving,
        calls in flight get a moment to finish, what is left is cancelled, and everything is closed.

        Args:
            settings: of the run; `parse_settings` makes them.
            observers: called with every record; by default the plugins' hooks.

        Raises:
            SettingError: the settings do not fit together, or a model cannot be opened.
            JournalError: the run directory cannot be used, or holds something else.
        """
        async with Harness.live(settings, observers) as open_:
            yield open_.session

    @staticmethod
    @contextlib.asynccontextmanager
    async def live(settings: Settings, observers: Observers | None = None) -> AsyncIterator[Open]:
        """As `serving`, with the models, for samples whose generation settings differ.

        `models.strategy` makes a strategy for a task or a request, and `session.sample` takes it.

        Args:
            settings: of the run.
            observers: called with every record; by default the plugins' hooks.

        Raises:
            SettingError: as `serving` does.
            JournalError: as `serving` does.
        """
        prices_of(settings.run)
        extractor = open_extractor(settings.run)
        directory = directory_of(settings)
        try:
            models = await open_models(settings, extractor, directory)
            try:
                live = live_session(models, directory, observers, extractor=extractor)
                async with live as session:
                    yield Open(session, models)
            finally:
                await models.aclose(CLOSE_SECONDS)
        finally:
            if directory is not None:
                directory.close()

    @property
    def backends(self) -> Mapping[Role, Backend]:
        """The models, by role."""
        return self._models.backends

    @property
    def extractor(self) -> Backend | None:
        """The model that extracts answers when samples end, if one does."""
        return self._models.extractor

    def strategy(self, task: Mapping[str, Any], provenance: Mapping[str, Any]) -> Strategy:
        """An instance of the strategy for a task; see `RunModels.strategy`."""
        return self._models.strategy(task, provenance)

    def run(
        self, groups: Sequence[Group], observers: Observers | None = None, *, show: bool = True
    ) -> list[SampleRecord]:
        """Produce every sample of every group, in order.

        Ctrl-C and SIGTERM are handled meanwhile, where this is the main thread. `summary` tells
        afterwards how it went, also if this raises.

        Args:
            groups: problems with their samples and strategy.
            observers: called with every record; by default the plugins' hooks.
            show: whether to show progress, in the way the setting `progress` says.

        Raises:
            SettingError: a problem cannot fit a model's context; nothing was generated.
            RunIncompleteError: not all samples were finished; has their names, an exit status
                for the process and, in its message, the command to resume.
            JournalError: the run directory cannot be written, or holds something else. One that
                was removed meanwhile (`JournalLostError`) brings the finished samples.
        """
        check_contexts(groups, self.backends)
        run = Run(
            groups,
            self.record(groups),
            self.backends,
            self.settings.run,
            self._directory,
            observers,
            show,
            self.extractor,
        )
        self.summary = run.summary
        try:
            return run.produce(self._await)
        finally:
            self._hurried = run.hurried

    def call(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Send a request to one of `backends` and wait for it.

        It runs in the harness's event loop, to which the backends' connections belong. It is part
        of no run: it is not recorded, limited or retried.

        Args:
            ask: makes the coroutine.
        """
        return self._await(ask())

    def record(self, groups: Sequence[Group]) -> RunRecord:
        """The record of a run of these groups: versions, settings, models, tasks."""
        return self._models.record(groups)

    def close(self) -> None:
        """Close the models and the loop."""
        if self._loop.is_closed():
            return
        try:
            self._await(self._models.aclose(HURRIED_SECONDS if self._hurried else CLOSE_SECONDS))
        finally:
            self._stop_loop()
            self._release_directory()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # when this thread was interrupted; else it is done

    def _stop_loop(self) -> None:
        """Cancel what still runs, let it clean up for a moment, end the thread."""
        end = asyncio.run_coroutine_threadsafe(cancel_all(HURRIED_SECONDS), self._loop)
        try:
            end.result(HURRIED_SECONDS + 1)
        except TimeoutError:
            logger.warning("the event loop is blocked; leaving it behind")
            return  # its thread is a daemon
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _release_directory(self) -> None:
        if self._directory is not None:
            self._directory.close()


async def cancel_all(seconds: float) -> None:
    """Cancel all other tasks of this loop, and give them some seconds to clean up."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
