"""One engine of a run: its backend, its slots, and whether it answers.

An engine is gone when nothing listens at its address, or when it failed often in a row. Then its
calls wait instead of using up their tries: the circuit is open, and only one call at a time is
sent, to see whether the engine is back. After `patience` seconds the run is given up. An engine
with calls in flight that answers none of them for `stall` seconds counts as gone too, whatever its
health check says.

An engine that comes back may serve another model: after anything that may have been a restart, and
from time to time, it is asked for its identity before the next call is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from types import TracebackType

from atts_harness import neutral
from atts_harness.backend import Backend
from atts_harness.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    EngineGoneError,
    ModelChangedError,
    RefusedError,
    SettingError,
)
from atts_harness.identity import changes, in_words
from atts_harness.running.clock import Clock
from atts_harness.running.slots import Slots

logger = neutral.logger("atts_harness.running")

FAILURES_IN_A_ROW = 8  # at 10 % of random failures this happens by chance once in 10^8 calls
FIRST_PROBE, LONGEST_PROBE = 0.5, 10.0
PING_SECONDS = 10.0


@dataclass
class Outage:
    """A time in which an engine was gone."""

    engine: str
    began: float
    reason: str
    ended: float | None = None


@dataclass
class Engine:
    """One engine of a run.

    Attributes:
        name: the roles it serves, for messages: `draft`, `target` or `draft and target`.
        backend: through which it is called.
        slots: its slots.
        clock: the run's.
        timeout: seconds a call may take.
        patience: seconds to wait for its return.
        stall: seconds without a reply after which it counts as gone.
        lasting: whether to wait for it without end: calls that waited for `patience` seconds fail,
            and later calls begin to wait. Else the run is given up.
        outages: so far.
        doubtful: whether its identity must be confirmed before the next call is sent.
    """

    name: str
    backend: Backend
    slots: Slots
    clock: Clock
    timeout: float = 600.0
    patience: float = 900.0
    stall: float = 600.0
    lasting: bool = False
    outages: list[Outage] = field(default_factory=list)
    doubtful: bool = False
    _confirming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _in_flight: set[asyncio.Timeout] = field(default_factory=set)
    _in_a_row: int = 0
    _silent_since: float = 0.0
    _watching: asyncio.Task[None] | None = None
    _mending: asyncio.Task[None] | None = None
    _tried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waited_for(self) -> float | None:
        """Seconds since it went away; None while it is there."""
        return self.clock.now() - self.outages[-1].began if self.gone else None

    @property
    def gone(self) -> bool:
        """True while the circuit is open."""
        return bool(self.outages) and self.outages[-1].ended is None

    def limit(self) -> Limit:
        """The time limit of one call; the watchdog can end it early."""
        return Limit(self)

    async def confirm(self) -> None:
        """Make sure that the same model answers as when the run began.

        Raises:
            BackendError: it cannot be reached.
            ModelChangedError: another one answers.
        """
        async with self._confirming:
            if not self.doubtful:
                return  # another call has asked meanwhile
            before = self.backend.identity
            try:
                after = await self.backend.identify()
            except SettingError as error:  # the model that was asked for is not served any more
                raise self._changed(str(error)) from error
            differences = changes(before, after)
            decisive = [change for change in differences if change.level == "decides"]
            if decisive:
                raise self._changed(in_words(decisive))
            for change in differences:
                if change.level == "warns":
                    logger.warning(
                        "%s: the engine came back with a difference: %s", self.name, change
                    )
            self.doubtful = False

    def _changed(self, change: str) -> ModelChangedError:
        return ModelChangedError(
            f"{self.name}: the engine came back as another model ({change}); serve the recorded "
            "one again, and run the same command to go on"
        )

    def replied(self) -> None:
        """Note that a call was answered, which shows that the engine is there."""
        self._in_a_row = 0
        self._silent_since = self.clock.now()
        if self.gone:
            self.outages[-1].ended = self._silent_since
            logger.warning(
                "%s: the engine is back after %.0f s",
                self.name,
                self._silent_since - self.outages[-1].began,
            )
            self.slots.resume()
        self._tried.set()

    def failed(self, error: BackendError) -> bool:
        """Note a failed try; returns whether the engine is gone, so that the try is not counted."""
        if isinstance(error, RefusedError):
            self.doubtful = True
            self._tried.set()
            return self.gone
        if not looks_gone(error):
            self.replied()
            return False
        if isinstance(error, BackendUnavailableError) and error.restarted:
            self.doubtful = True
        self._in_a_row += 1
        self._tried.set()
        # Failures return sooner than replies, so of calls sent together the failures come first.
        enough = max(FAILURES_IN_A_ROW, len(self._in_flight))
        if not self.gone and isinstance(error, BackendUnavailableError) and error.absent:
            self.trip(f"nobody listens there: {error}")
        if not self.gone and self._in_a_row >= enough:
            self.trip(f"{self._in_a_row} failures in a row, the last one: {error}")
        return self.gone

    async def exhausted(self, error: BackendError) -> bool:
        """Whether a call used up its tries because the engine is gone."""
        if self.gone:
            return True
        if not isinstance(error, BackendUnavailableError | RefusedError):
            return False
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self.backend.ping()
        except (BackendError, TimeoutError):
            self.trip(f"a call failed repeatedly, the last time with: {error}")
            return True
        return False

    def trip(self, reason: str) -> None:
        """Open the circuit: only one call at a time is sent, until one is answered."""
        if self.gone:
            return
        self.doubtful = True
        self.outages.append(Outage(self.name, self.clock.now(), reason))
        logger.warning(
            "%s: the engine is gone (%s); waiting for its return, for %g s at most",
            self.name,
            reason,
            self.patience,
        )
        self.slots.pause()
        self._mending = asyncio.get_running_loop().create_task(self._mend())

    def watch(self) -> None:
        """Start the watchdog."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def aclose(self) -> None:
        """Stop the watchdog, and end all waiting for the engine's return."""
        tasks = [task for task in (self._watching, self._mending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mend(self) -> None:
        outage, pause = self.outages[-1], FIRST_PROBE
        until = outage.began + self.patience
        while self.gone:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            if not self.gone:
                return
            remaining = until - self.clock.now()
            if remaining <= 0:
                error = EngineGoneError(
                    f"{self.name}: the engine did not come back within engine_timeout="
                    f"{self.patience:g} s ({outage.reason})"
                )
                if not self.lasting:
                    self.slots.fail(error)
                    return
                self.slots.dismiss(error)
                until = self.clock.now() + self.patience
                continue
            self._tried.clear()
            if self.slots.admit_one():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(remaining):
                        await self._tried.wait()
            pause = min(LONGEST_PROBE, pause * 2)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.stall / 10)
            self.doubtful = True  # a restart between two calls breaks none of them
            silent = self.clock.now() - self._silent_since
            if self._in_flight and not self.gone and silent > self.stall:
                self.trip(f"{len(self._in_flight)} calls in flight and no reply for {silent:.0f} s")
                now = asyncio.get_running_loop().time()
                for limit in self._in_flight:
                    limit.reschedule(now)


class Limit:
    """The time limit of one call: a class, because a generator would cost more in every call."""

    __slots__ = ("_engine", "_timeout")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._timeout = asyncio.timeout(engine.timeout)

    async def __aenter__(self) -> None:
        """Begin to count."""
        engine = self._engine
        if not engine._in_flight:
            engine._silent_since = engine.clock.now()  # no reply was due until now
        await self._timeout.__aenter__()
        engine._in_flight.add(self._timeout)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting.

        Raises:
            BackendTimeoutError: no reply in time.
        """
        self._engine._in_flight.discard(self._timeout)
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self._late() from late
        if isinstance(error, TimeoutError):
            raise self._late() from error

    def _late(self) -> BackendTimeoutError:
        return BackendTimeoutError(
            f"timeout: no reply within {self._engine.timeout:g} s, or the engine stalled"
        )


def looks_gone(error: BackendError) -> bool:
    """Whether a dead engine may cause this error; an engine that asks us to wait is alive."""
    if isinstance(error, BackendUnavailableError):
        return error.retry_after is None
    return isinstance(error, BackendTimeoutError)
