"""Calls: from a request to a recorded reply, through slots, time limits and retries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from atts_harness import errors, guards, neutral
from atts_harness.backend import GenerateReply, GenerateRequest, ScoreReply
from atts_harness.errors import (
    BackendError,
    BackendUnavailableError,
    ContextLengthError,
    RefusedError,
)
from atts_harness.journal.contract import Journal, replayed
from atts_harness.journal.hashing import Request, request_hash
from atts_harness.lanes import lane_of
from atts_harness.records import CallKey, CallRecord, Fault
from atts_harness.running.clock import Clock
from atts_harness.running.engine import Engine
from atts_harness.signals import with_confidences

logger = neutral.logger("atts_harness.running")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONGEST_WAIT = 300.0  # whatever a server asks for
LONGEST_MESSAGE = 300

CURRENT_CALL: ContextVar[CallKey] = ContextVar("CURRENT_CALL")
"""The call that is being made; a simulated backend seeds its random draws with it."""


@dataclass(frozen=True)
class RunCalls:
    """The parts that all calls of a run share.

    Attributes:
        journal: where they are recorded, and replayed from.
        clock: the run's.
        retries: tries after the first.
        observe: called with every recorded call.
    """

    journal: Journal
    clock: Clock
    retries: int
    observe: Callable[[CallRecord], None]
    jitter: random.Random = field(default_factory=random.Random)

    async def make(
        self,
        engine: Engine,
        key: CallKey,
        request: Request,
        begun: Callable[[], None] = lambda: None,
        *,
        confidences: bool = False,
    ) -> CallRecord:
        """Make one call and record it; a failure for good has an error and no reply.

        Tries that fail because the engine is gone are recorded and do not count against
        `retries`. A refusal is tried again: the request was checked to fit, so the engine may be
        in trouble (restarting, its key changed, its queue full). If not, it refuses every try.

        Args:
            engine: the engine that serves the call.
            key: identifies the call.
            request: the request to send.
            begun: called when the request is really sent.
            confidences: record each token's confidence in place of its alternatives.

        Raises:
            JournalMismatchError: the journal holds another request under this key.
            BackendError: the engine refused the request itself; recorded too.
            ContextLengthError: the engine found it too long.
            EngineGoneError: the engine did not come back.
        """
        digest = request_hash(request)
        recorded = self.journal.call(key)
        if recorded is not None:
            record = replayed(recorded, digest)
            if record.error is not None and not failure_of(record).retryable:
                raise failure_of(record)
            return record
        queued = self.clock.now()
        faults: list[Fault] = []
        failure: BackendError | None = None
        reply: GenerateReply | ScoreReply | None = None
        spent = 0
        lane = lane_of(key.role, key.kind)
        CURRENT_CALL.set(key)
        while True:
            await engine.slots.acquire(lane, again=bool(faults) and not engine.gone)
            attempted = False
            try:
                sent = self.clock.now()
                begun()
                async with engine.limit():
                    if engine.doubtful:
                        await engine.confirm()
                    attempted = True
                    reply = await guards.ask(engine.backend, request)
                    if confidences and isinstance(reply, GenerateReply):
                        reply = with_confidences(reply)
                failure = None
                engine.replied()
                break
            except ContextLengthError:
                engine.replied()
                raise
            except BackendError as raised:
                failure = raised
                if attempted:  # else the engine's identity was not confirmed, and nothing sent
                    faults.append(_fault(raised, sent, self.clock.now()))
                engines_fault = engine.failed(raised)
            finally:
                engine.slots.release(lane)
            if attempted and not failure.retryable and not isinstance(failure, RefusedError):
                break
            spent += not engines_fault
            logger.debug("%s: try %d failed: %s", key, len(faults), failure)
            if spent > self.retries:
                if not await engine.exhausted(failure):
                    break
                spent = 0
            if not engine.gone:
                await asyncio.sleep(self._pause(spent, failure))
        record = CallRecord(
            key=key,
            request_hash=digest,
            seed=request.seed if isinstance(request, GenerateRequest) else None,
            reply=reply,
            error=None if failure is None else f"{type(failure).__name__}: {failure}",
            retries=max(0, len(faults) - (failure is not None)),
            queued=queued,
            sent=sent,
            done=self.clock.now(),
            faults=tuple(faults),
        )
        await self.journal.record_call(record)
        self.observe(record)
        if failure is not None and not failure.retryable:
            raise failure
        return record

    def _pause(self, tries: int, error: BackendError) -> float:
        """Seconds before the next try: exponential with full jitter, or what the server asked."""
        if isinstance(error, BackendUnavailableError) and error.retry_after is not None:
            # A little later than asked, and not all at the same time.
            return min(LONGEST_WAIT, error.retry_after) * self.jitter.uniform(1.0, 1.25)
        return self.jitter.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries))


def failure_of(record: CallRecord) -> BackendError:
    """The typed error of a call that failed for good."""
    name, _, message = (record.error or "").partition(": ")
    kind = getattr(errors, name, BackendError)
    if not (isinstance(kind, type) and issubclass(kind, BackendError)):
        kind = BackendError
    error: BackendError = kind(message)
    return error


def _fault(error: BackendError, sent: float, done: float) -> Fault:
    return Fault(
        error=type(error).__name__, message=str(error)[:LONGEST_MESSAGE], sent=sent, done=done
    )
