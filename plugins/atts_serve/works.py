"""Samples in progress: their bound, who waits for them, and that none is made twice at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from atts_harness.errors import RunDirError
from atts_harness.records import SampleId, SampleRecord
from atts_harness.strategy import Problem, Strategy
from atts_serve.naming import Named
from atts_serve.refusal import bad, busy, conflict
from atts_serve.rooms import Listener, Room

LONGEST_RETRY = 60
Key = tuple[str, SampleId]


@dataclass
class SampleWork:
    """A sample in progress, or all samples of a problem that share their scores.

    Attributes:
        ids: the samples.
        question: digest of the problem, so that two problems under one name are told apart.
        task: produces them.
        waiting: requests that want them; the last one to leave cancels them.
    """

    ids: tuple[SampleId, ...]
    question: str
    task: asyncio.Task[list[SampleRecord]]
    waiting: int = 0


class Works:
    """Begins samples while there is room, and lets equal requests share them.

    Args:
        most: samples in progress; more are refused.
        live: of these, samples that are begun and not finished; 0: no further bound.
    """

    def __init__(self, most: int, live: int = 0) -> None:
        self.most = most
        self._place = asyncio.Semaphore(live) if live else contextlib.nullcontext()
        self._by_sample: dict[Key, SampleWork] = {}
        self._promised = 0
        self._seconds = 1.0

    @property
    def running(self) -> int:
        """Samples in progress."""
        return len(self._by_sample)

    @contextlib.contextmanager
    def promise(self, samples: int) -> Iterator[None]:
        """Reserve room for a request's samples while it is prepared and answered.

        Raises:
            Refusal: there is none.
        """
        if samples > self.most:
            raise bad(f"n: at most {self.most} samples at a time", "n")
        if self._promised + samples > self.most:
            after = min(LONGEST_RETRY, max(1, round(self._seconds)))
            raise busy(f"{self.most} samples are in progress; try again later", after)
        self._promised += samples
        try:
            yield
        finally:
            self._promised -= samples

    @contextlib.asynccontextmanager
    async def samples(
        self, room: Room, named_samples: Named, listeners: Sequence[Listener] = ()
    ) -> AsyncIterator[list[SampleWork]]:
        """Begin or join a request's samples; on leaving, those that nobody wants are cancelled.

        Args:
            room: the session that produces them.
            named_samples: the problem and its repeats.
            listeners: get the events of each sample, from its beginning; none, or one for each.

        Raises:
            Refusal: one of them is in progress with another question.
            SettingError: the strategy cannot be made for this task.
        """
        strategy = room.strategy(named_samples.problem)
        problem = named_samples.problem
        ids = tuple(SampleId(problem.task, problem.doc, repeat) for repeat in named_samples.repeats)
        units = [ids] if strategy.grouped else [(id_,) for id_ in ids]
        question = f"{problem.prompt_hash}:{problem.max_tokens}:{problem.until}"
        by_sample = dict(zip(ids, listeners, strict=False))
        for id_, listener in by_sample.items():
            room.listeners.setdefault(id_, []).append(listener)
        joined: list[SampleWork] = []
        try:
            for unit in units:
                work = self._shared(room, unit, question)
                if work is None:
                    if strategy.grouped:
                        repeats = list(named_samples.repeats)
                        making = room.session.group(problem, repeats, strategy=strategy)
                    else:
                        making = _one(room, problem, unit[0], strategy)
                    work = self._begin(room, unit, question, making)
                work.waiting += 1
                joined.append(work)
            yield joined
        finally:
            for id_, listener in by_sample.items():
                room.listeners[id_].remove(listener)
                if not room.listeners[id_]:
                    del room.listeners[id_]
            for work in joined:
                work.waiting -= 1
                if not work.waiting and not work.task.done():
                    work.task.cancel()

    def _shared(self, room: Room, unit: tuple[SampleId, ...], question: str) -> SampleWork | None:
        keys = [(room.variation.key, id_) for id_ in unit]
        running = {id(w): w for key in keys if (w := self._by_sample.get(key)) is not None}
        if not running:
            return None
        (work, *others) = running.values()
        if others or work.ids != unit or work.question != question:
            raise conflict("this sample is in progress with another question or on other terms")
        return work

    def _begin(
        self,
        room: Room,
        unit: tuple[SampleId, ...],
        question: str,
        making: Coroutine[Any, Any, list[SampleRecord]],
    ) -> SampleWork:
        task = asyncio.create_task(self._made(room, making))
        work = SampleWork(unit, question, task)
        keys = [(room.variation.key, id_) for id_ in unit]
        self._by_sample.update(dict.fromkeys(keys, work))

        def ended(task: asyncio.Task[list[SampleRecord]]) -> None:
            for key in keys:
                if self._by_sample.get(key) is work:
                    del self._by_sample[key]
            if not task.cancelled():
                task.exception()  # whoever waits is told; nobody may wait any more

        task.add_done_callback(ended)
        return work

    async def _made(
        self, room: Room, making: Coroutine[Any, Any, list[SampleRecord]]
    ) -> list[SampleRecord]:
        loop = asyncio.get_running_loop()
        try:
            async with self._place:
                began = loop.time()
                records = await making
        except RunDirError:
            room.broken = True
            raise
        finally:
            making.close()
        self._seconds += 0.05 * (loop.time() - began - self._seconds)
        return records


async def _one(
    room: Room, problem: Problem, id_: SampleId, strategy: Strategy
) -> list[SampleRecord]:
    return [await room.session.sample(problem, repeat=id_.repeat, strategy=strategy)]
