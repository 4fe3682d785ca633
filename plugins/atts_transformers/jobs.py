"""A request on its way through the engine, and the way of its reply back to the event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atts_harness import neutral
from atts_harness.backend import GenerateReply, GenerateRequest, ScoreReply, ScoreRequest
from atts_transformers.rows import CacheRow

log = neutral.logger(__name__)
Outcome = GenerateReply | ScoreReply | BaseException


@dataclass(eq=False)
class LocalJob:
    """One request on its way.

    Attributes:
        request: what was asked.
        future: where the reply goes; belongs to `loop`.
        loop: the event loop of the caller.
        ids: context and what has been generated so far.
        row: its cache row while it runs.
        cached: how much of the context came from the cache.
        cancelled: set by the caller's thread; the job is dropped at the next turn.
        length: of the context.
        scoring: whether it is a score.
    """

    request: GenerateRequest | ScoreRequest
    future: asyncio.Future[GenerateReply | ScoreReply]
    loop: asyncio.AbstractEventLoop
    arrived: float = field(default_factory=time.perf_counter)
    ids: list[int] = field(default_factory=list)
    row: CacheRow | None = None
    cached: int = 0
    cancelled: bool = False
    stream: random.Random = field(default_factory=random.Random)
    logprobs: list[float] = field(default_factory=list)
    tops: list[dict[int, float]] = field(default_factory=list)
    first_token: float | None = None
    length: int = 0
    scoring: bool = False

    def __post_init__(self) -> None:
        self.ids = list(self.request.ids)
        self.length = len(self.ids)
        self.scoring = isinstance(self.request, ScoreRequest)

    @property
    def target(self) -> int:
        """How many ids have to be computed before the next answer.

        The last id of a scored text predicts nothing that was asked for.
        """
        return self.length - 1 if self.scoring else len(self.ids)

    @property
    def reserve(self) -> int:
        """Cache positions it may need."""
        request = self.request
        return self.length + (request.max_tokens if isinstance(request, GenerateRequest) else 0)

    @property
    def reusable(self) -> int:
        """How many leading ids may come from the cache; the rest has to yield logits."""
        return self.request.start - 1 if isinstance(self.request, ScoreRequest) else self.length - 1


def row_of(job: LocalJob) -> CacheRow:
    """The row of a job that runs."""
    assert job.row is not None
    return job.row


def generation(job: LocalJob) -> GenerateRequest:
    """The request of a job that is not a score."""
    assert isinstance(job.request, GenerateRequest)
    return job.request


def deliver(outcomes: Sequence[tuple[LocalJob, Outcome]]) -> None:
    """Give replies to their event loops, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[LocalJob, Outcome]]] = {}
    for job, outcome in outcomes:
        by_loop.setdefault(job.loop, []).append((job, outcome))
    for loop, mine in by_loop.items():
        wake(loop, lambda mine=mine: _settle(mine))  # type: ignore[misc]


def wake(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Run `callback` in `loop`, from any thread; does nothing if the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        log.debug("an event loop was closed before its replies came")


def _settle(outcomes: Sequence[tuple[LocalJob, Outcome]]) -> None:
    for job, outcome in outcomes:
        if job.future.done():
            continue
        if isinstance(outcome, BaseException):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
