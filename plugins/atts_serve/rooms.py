"""Live sessions, one for each variation of a model; all of them share the engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from atts_harness import neutral
from atts_harness.records import CallRecord, DecisionRecord, SampleId
from atts_harness.running.books import plugin_observers
from atts_harness.running.house import House
from atts_harness.running.observers import Observers
from atts_harness.running.opening import RunModels
from atts_harness.running.problems import Terms, framing, make_problem
from atts_harness.running.session import Session
from atts_harness.strategy import Problem, Strategy
from atts_harness.transcript import Message, Transcript
from atts_serve.catalogue import Variation
from atts_serve.refusal import busy
from atts_serve.thinking import opens_thinking

logger = neutral.logger("atts_serve")

EXAMPLE = (Message("user", "What is asked?"),)
MOST_ROOMS = 64
MOST_STRATEGIES = 1000
RETRY_SECONDS = 10

Event = CallRecord | DecisionRecord | Transcript
Listener = Callable[[SampleId, Event], None]


@dataclass
class Room:
    """A session, and what its requests share.

    Attributes:
        variation: the model with its settings.
        session: produces the samples.
        models: the models that answer.
        base: a problem with the fields that all problems of the variation share.
        opens: whether the template opens thoughts where the assistant is to write.
        from_file: whether its scores rank in a bank from a file.
        listeners: by sample, functions that get its calls, decisions and text.
        users: requests that are using it.
        broken: its run directory cannot be written any more, so a new room is needed.
    """

    variation: Variation
    session: Session
    models: RunModels
    base: Problem
    opens: bool
    from_file: bool
    listeners: dict[SampleId, list[Listener]]
    users: int = 0
    broken: bool = False
    _strategies: dict[tuple[str, str], Strategy] = field(default_factory=dict)

    def strategy(self, problem: Problem) -> Strategy:
        """How a problem's samples are produced.

        A bank from a file is checked against what it is used for, so prompts of another frame have
        a strategy of their own; scores of a task that rank among each other are kept together.

        Raises:
            SettingError: the model's bank is not for this task, or not for these settings.
            Refusal: too many tasks are in use.
        """
        frame = framing(problem.prompt.messages)
        key = (problem.task, frame if self.from_file else "")
        strategy = self._strategies.get(key)
        if strategy is None:
            if len(self._strategies) >= MOST_STRATEGIES:
                raise busy("too many tasks are in use", RETRY_SECONDS)
            provenance = {"task": problem.task, "prompt": frame}
            strategy = self.models.strategy(self.variation.task, provenance)
            self._strategies[key] = strategy
        return strategy


@dataclass
class _Kept:
    """A room, and how it is closed."""

    room: Room
    leave: asyncio.Event
    task: asyncio.Task[None]


class Rooms:
    """Opens a session for its first request, and closes sessions that are no longer used.

    Args:
        house: the engines that they share.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def room(self, variation: Variation) -> AsyncIterator[Room]:
        """The room of a variation, for as long as it is used.

        Raises:
            Refusal: as many as can be are in use.
            SettingError: the models cannot do what is asked for.
            JournalError: its run directory cannot be used.
        """
        entry = self._kept.get(variation.key)
        if entry is None or entry.room.broken:
            entry = await self._opened(variation)
        room = entry.room
        room.users += 1
        self._kept.move_to_end(variation.key)
        try:
            yield room
        finally:
            room.users -= 1

    def open(self) -> list[Room]:
        """The open sessions."""
        return [entry.room for entry in self._kept.values()]

    async def aclose(self) -> None:
        """Close all of them."""
        for entry in self._kept.values():
            entry.leave.set()
        await asyncio.gather(*(entry.task for entry in self._kept.values()), return_exceptions=True)
        self._kept.clear()

    async def _opened(self, variation: Variation) -> _Kept:
        lock = self._opening.setdefault(variation.key, asyncio.Lock())
        async with lock:
            entry = self._kept.get(variation.key)
            if entry is not None and entry.room.broken:
                await self._close(variation.key)
                entry = None
            if entry is None:
                await self._make_place()
                entry = self._kept[variation.key] = await self._open(variation)
        self._opening.pop(variation.key, None)
        return entry

    async def _make_place(self) -> None:
        if len(self._kept) < MOST_ROOMS:
            return
        for key, entry in self._kept.items():
            if not entry.room.users:
                await self._close(key)
                return
        raise busy("too many combinations of settings are in use", RETRY_SECONDS)

    async def _close(self, key: str) -> None:
        entry = self._kept.pop(key)
        entry.leave.set()
        await asyncio.gather(entry.task, return_exceptions=True)

    async def _open(self, variation: Variation) -> _Kept:
        """Open a session in a task of its own, which also closes it."""
        leave = asyncio.Event()
        opened: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._live(variation, opened, leave))
        try:
            room = await asyncio.shield(opened)
        except asyncio.CancelledError:
            leave.set()  # the client went away while its session was opened
            raise
        return _Kept(room, leave, task)

    async def _live(
        self, variation: Variation, opened: asyncio.Future[Room], leave: asyncio.Event
    ) -> None:
        listeners: dict[SampleId, list[Listener]] = {}

        def publish(sample: SampleId, event: Event) -> None:
            for listener in listeners.get(sample, ()):
                listener(sample, event)

        observers = Observers(
            call=[lambda record: publish(record.key.sample, record)],
            decision=[lambda record: publish(record.sample, record)],
            transcript=[publish],
        )
        try:
            live = self._house.session(variation.settings, plugin_observers() + observers)
            async with live as (session, models):
                opened.set_result(room_of(variation, session, models, listeners))
                await leave.wait()
        except BaseException as error:
            if opened.done():
                logger.error("the session of %s ended: %s", variation.key, error)
                raise
            opened.set_exception(error)


def room_of(
    variation: Variation,
    session: Session,
    models: RunModels,
    listeners: dict[SampleId, list[Listener]],
) -> Room:
    """The room of a session that is open."""
    settings = variation.settings
    # Whoever votes has to tell answers apart; nobody else reads the kind.
    base = make_problem("", 0, EXAMPLE, Terms((), variation.task), settings, "maths")
    return Room(
        variation,
        session,
        models,
        base,
        opens_thinking(models, base.prompt),
        getattr(settings.options(), "source", None) == "file",
        listeners,
    )
