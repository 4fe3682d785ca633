"""A batch: all samples of many groups, handed to a session at once, and stopped from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from atts_harness.backend import Backend, Role
from atts_harness.errors import JournalLostError, RunIncompleteError
from atts_harness.journal.contract import Journal
from atts_harness.records import SampleRecord
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.running.session import Session, name_of
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group


async def run_groups(
    groups: Sequence[Group],
    backends: Mapping[Role, Backend],
    options: RunOptions,
    journal: Journal,
    observers: Observers | None = None,
    control: Control | None = None,
    extractor: Backend | None = None,
) -> list[SampleRecord]:
    """Produce every sample of every group.

    Args:
        groups: problems with their samples and strategy.
        backends: by role; roles may share one, and then share its slots.
        options: limits, retries, seed.
        journal: where calls and decisions are recorded, and replayed from.
        observers: called with every record.
        control: how the run is watched and stopped from outside.
        extractor: the model that extracts the answers of samples as they end; None: none does.

    Returns:
        One record a sample, in the order of `groups` and of their samples. A sample that failed
        for good has `failed` set.

    Raises:
        RunIncompleteError: stopped, given up for too many failures, or an engine is gone for
            good; names the missing samples.
        JournalLostError: the run directory is gone; has the samples that were finished.
        JournalError: the journal cannot be written, or holds something else.
    """
    control = control or Control()
    control.total = sum(len(group.samples) for group in groups)
    session = Session(backends, options, journal, observers, control, extractor)
    async with session:
        stopping = asyncio.create_task(_stop_when_asked(session, control))
        try:
            return await session.run(groups)
        except RunIncompleteError as error:
            ids = [sample.id for group in groups for sample in group.samples]
            error.missing = tuple(name_of(id_) for id_ in session.missing(ids))
            raise
        except JournalLostError as error:
            finished = session.finished
            error.finished = tuple(finished[id_] for id_ in sorted(finished))
            raise
        finally:
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping


async def _stop_when_asked(session: Session, control: Control) -> None:
    await session.wind_down(await control.asked_to_stop())
