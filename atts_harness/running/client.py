"""Calls: from a request to a recorded reply, through limits, time limits and retries."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import random
import time
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec

from atts_harness.backend import (
    Backend,
    GenerateReply,
    GenerateRequest,
    Role,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    MalformedReplyError,
)
from atts_harness.records import CallKey, CallRecord
from atts_harness.running.journal import Journal, replayed

Request = GenerateRequest | ScoreRequest
PRIORITIES = {"score": 0, "takeover": 1, "judge": 1, "draft": 2}
LONGEST_PAUSE = 30.0


@dataclass
class Clock:
    """Seconds since the run's start."""

    zero: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.monotonic() - self.zero


class Limits:
    """How many calls of a sort may be in flight on a role's engine."""

    def __init__(self, draft: int, score: int, takeover: int) -> None:
        self._slots = {
            "draft": asyncio.Semaphore(draft),
            "score": asyncio.Semaphore(score),
            "takeover": asyncio.Semaphore(takeover),
        }

    @contextlib.asynccontextmanager
    async def slot(self, role: Role, kind: str) -> AsyncIterator[None]:
        """Wait for a free slot and hold it."""
        sort = "draft" if role == "draft" else "score" if kind == "score" else "takeover"
        async with self._slots[sort]:
            yield


@dataclass(frozen=True)
class Calls:
    """What all calls of a run share."""

    limits: Limits
    journal: Journal
    retries: int
    timeout: float
    clock: Clock
    observe: Callable[[CallRecord], None]

    async def make(self, backend: Backend, key: CallKey, request: Request) -> CallRecord:
        """The recorded outcome of one call; a failure for good has an error and no reply.

        Raises:
            JournalMismatchError: the journal holds another request under this key.
            BackendError: the backend refused the request itself; trying again cannot help.
        """
        digest = request_hash(request)
        known = self.journal.call(key)
        if known is not None:
            return replayed(known, digest)
        queued = self.clock.now()
        reply: GenerateReply | ScoreReply | None = None
        error: str | None = None
        pause = 0.0
        for attempt in range(self.retries + 1):
            if attempt:
                await asyncio.sleep(pause)
            async with self.limits.slot(key.role, key.kind):
                sent = self.clock.now()
                try:
                    async with asyncio.timeout(self.timeout):
                        reply = await _send(backend, request)
                    error = None
                    break
                except TimeoutError:
                    failure: BackendError = BackendTimeoutError(
                        f"timeout: no reply to a {key.kind} call within {self.timeout:g} s"
                    )
                except BackendError as raised:
                    if not raised.retryable:
                        raise
                    failure = raised
            error = f"{type(failure).__name__}: {failure}"
            pause = _pause(attempt, failure)
        record = CallRecord(
            key=key,
            request_hash=digest,
            seed=request.seed if isinstance(request, GenerateRequest) else None,
            reply=reply,
            error=error,
            retries=attempt,
            queued=queued,
            sent=sent,
            done=self.clock.now(),
        )
        await self.journal.record_call(record)
        self.observe(record)
        return record


async def _send(backend: Backend, request: Request) -> GenerateReply | ScoreReply:
    if isinstance(request, GenerateRequest):
        return await backend.generate(request)
    reply = await backend.score(request)
    expected = len(request.ids) - request.start
    if len(reply.logprobs) != expected:
        raise MalformedReplyError(
            f"score: {len(reply.logprobs)} log-probabilities for {expected} tokens"
        )
    if not all(map(math.isfinite, reply.logprobs)):
        raise MalformedReplyError("score: a log-probability is not a finite number")
    return reply


def _pause(attempt: int, error: BackendError) -> float:
    """Seconds before the next try: exponential with full jitter, or what the server asked for."""
    if isinstance(error, BackendUnavailableError) and error.retry_after is not None:
        return error.retry_after
    return random.uniform(0, min(LONGEST_PAUSE, 0.5 * 2**attempt))


def request_hash(request: Request) -> str:
    """Digest of everything in a request that determines its reply."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(array("q", request.ids).tobytes())
    if isinstance(request, GenerateRequest):
        rest: object = (
            "generate",
            request.max_tokens,
            request.sampling,
            request.seed,
            request.stop,
            request.top_logprobs,
        )
    else:
        rest = ("score", request.start)
    digest.update(msgspec.msgpack.encode(rest))
    return digest.hexdigest()
