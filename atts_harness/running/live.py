"""A live session over open models: its journal, its ledger, and how it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

from atts_harness.backend import Backend, Role
from atts_harness.errors import RunIncompleteError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.identity import defaults_of
from atts_harness.running.books import Books
from atts_harness.running.engine import Engine
from atts_harness.running.observers import Observers
from atts_harness.running.opening import RunModels
from atts_harness.running.session import Session
from atts_harness.settings import Settings

MOST_VALUES = 1 << 12
"""Values that a session without an end keeps for each percentile: 32 kB."""


class Open(NamedTuple):
    """A session, and the models that it asks."""

    session: Session
    models: RunModels


def directory_of(settings: Settings) -> RunDirectory | None:
    """The run directory of some settings, locked; None where they name none.

    Raises:
        RunDirError: it cannot be used.
    """
    run = settings.run
    return None if run.run_dir is None else RunDirectory(Path(run.run_dir), resume=run.resume)


@contextlib.asynccontextmanager
async def live_session(
    models: RunModels,
    directory: RunDirectory | None,
    observers: Observers | None = None,
    *,
    extractor: Backend | None = None,
    engines: Mapping[Role, Engine] | None = None,
) -> AsyncIterator[Session]:
    """A session, and its books, which are closed however it ends.

    Args:
        models: open, with the settings of the session.
        directory: where it is recorded; None: in memory.
        observers: called with every record; by default the plugins' hooks.
        extractor: the model that extracts the answers of samples as they end; None: none does.
        engines: by role, if other sessions share them. Then the session writes no log.

    Raises:
        JournalError: the run directory cannot be used, or holds something else.
    """
    settings = models.settings
    shared = engines is not None
    books = Books(
        models.record([]),
        settings.run,
        directory,
        observers,
        log=not shared,
        most=MOST_VALUES if shared else 0,
    )
    books.begin({}, defaults_of(settings.strategy.Options))
    with books:
        session = Session(
            models.backends,
            settings.run,
            books.journal,
            books.watchers,
            books.control,
            extractor,
            lambda task: models.strategy({}, {"task": task}),
            engines,
        )
        try:
            async with session:
                yield session
            books.summary.state = "finished"
        except RunIncompleteError:
            books.summary.state = "interrupted"
            raise
        finally:
            books.summary.total = books.control.total
