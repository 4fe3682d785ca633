"""An engine in simulated time: continuous batching, chunked prefill, KV cache and prefix cache.

Sequences that decode get one token a step each; the rest of the step's token budget goes to chunks
of prompts (SGLang: prompts have steps of their own, which go first). Requests wait in a queue by
priority until batch and KV cache have room. A sequence that finds no room for its next token
preempts the least urgent one, which is computed again later. What a step costs is a `CostModel`'s.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atts_harness.errors import ContextLengthError
from atts_harness.simulation.costs import CostModel, Step, StepSeconds
from atts_harness.simulation.jobs import EngineFigures, EngineLimits, SimulatedJob
from atts_harness.simulation.radix import PrefixTree, RadixNode

__all__ = ["SimulatedEngine"]

LONGEST_STRIDE = 64
"""Most steps of an unchanged batch that are taken together, at their mean context."""
SHARED_STRIDE = 4
"""The same for an engine that shares its GPU, so that the other one gets its turn."""


@dataclass
class SimulatedEngine:
    """One engine.

    Attributes:
        cost: seconds of a step.
        limits: how it is set up.
        device: held during a step by engines that share a GPU; None: it has its own.
        figures: what it did so far.
    """

    cost: CostModel
    limits: EngineLimits
    device: asyncio.Lock | None = None
    figures: EngineFigures = field(default_factory=EngineFigures)
    _tree: PrefixTree = field(default_factory=PrefixTree)
    _queue: list[tuple[int, float, int, SimulatedJob]] = field(default_factory=list)
    _running: list[SimulatedJob] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _held: int = 0
    _task: asyncio.Task[None] | None = None
    _news: asyncio.Future[bool] | None = None

    async def generate(
        self, ids: Sequence[int], writes: tuple[int, ...], priority: int = 0
    ) -> SimulatedJob:
        """Write `writes` behind `ids`; returns when the last token is there.

        Raises:
            ContextLengthError: it can never fit the KV cache.
        """
        return await self._serve(ids, writes, None, priority)

    async def score(self, ids: Sequence[int], start: int, priority: int = 0) -> SimulatedJob:
        """Score `ids` from position `start` on.

        Raises:
            ContextLengthError: it can never fit the KV cache.
        """
        return await self._serve(ids, (), start, priority)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def kv_in_use(self) -> int:
        """Tokens of KV cache that running requests hold, shared ones counted once."""
        return self._tree.pinned + self._held

    @property
    def kv_cached(self) -> int:
        """Tokens of KV cache that are kept for later requests only."""
        return self._tree.tokens - self._tree.pinned

    def forget(self) -> None:
        """Empty the prefix cache."""
        self._tree.evict(float("inf"))

    async def _serve(
        self, ids: Sequence[int], writes: tuple[int, ...], start: int | None, priority: int
    ) -> SimulatedJob:
        most = len(ids) + len(writes)
        if self._blocks(most) > self.limits.kv_tokens:
            raise ContextLengthError(
                f"a request of {most} tokens exceeds the KV cache of {self.limits.kv_tokens}"
            )
        loop = asyncio.get_running_loop()
        finished = loop.create_future()
        job = SimulatedJob(ids, writes, start, priority, loop.time(), next(self._order), finished)
        self.figures.requests += 1
        self.figures.prompt_tokens += len(ids)
        self._enqueue(job)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        elif len(self._running) < self.limits.max_num_seqs:
            self._tell(True)
        try:
            await finished
        except asyncio.CancelledError:
            self._abort(job)
            raise
        return job

    async def _run(self) -> None:
        """Take steps while there is work.

        An idle engine begins at once with the first request that its server hands it; others of the
        same moment are still on their way, and come in at the next step.
        """
        most = 1
        while self._queue or self._running:
            self._admit(most)
            most = self.limits.max_num_seqs
            if self.device is None:
                await self._advance()
            else:
                async with self.device:
                    await self._advance()

    async def _advance(self) -> None:
        """Take one step, or as many as leave the batch as it is."""
        decodes = self._make_room([job for job in self._running if job.decoding])
        prompts = len(self._running) > len(decodes)
        if prompts and not self.limits.mixed_steps:
            decodes = []
        chunks = self._chunks(len(decodes)) if prompts else {}
        if not decodes and not chunks:
            await asyncio.sleep(0)
            return
        stride = 1 if chunks else self._stride(decodes)
        step = self._step(decodes, chunks, stride)
        cost = self.cost.seconds(step)
        steps = await self._pass(cost.total, stride)
        self._count(cost, steps)
        now = asyncio.get_running_loop().time()
        for job, size in chunks.items():
            if job.node is not None:  # else it was aborted meanwhile
                self._computed(job, size, now)
        self._decoded([job for job in decodes if job.node is not None], steps)

    async def _pass(self, seconds: float, stride: int) -> int:
        """Let the time of `stride` steps pass; returns how many were taken.

        A request that comes meanwhile is let in at the end of the step that it finds.
        """
        if stride == 1:
            await asyncio.sleep(seconds)
            return 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._news = loop.create_future()
        timer = loop.call_later(seconds * stride, self._tell, False)
        try:
            if not await self._news:
                return stride
        finally:
            timer.cancel()
            self._news = None
        steps = min(stride, max(1, math.ceil((loop.time() - began) / seconds)))
        await asyncio.sleep(max(0.0, began + steps * seconds - loop.time()))
        return steps

    def _tell(self, came: bool) -> None:
        """End a wait of several steps: something came, or their time is over."""
        if self._news is not None and not self._news.done():
            self._news.set_result(came)

    def _count(self, cost: StepSeconds, steps: int) -> None:
        figures, seconds = self.figures, cost.total * steps
        figures.steps += steps
        figures.busy += seconds
        figures.compute += cost.compute * steps
        figures.memory += cost.memory * steps
        figures.links += cost.links * steps
        figures.overhead += cost.overhead * steps
        figures.kv_peak = max(figures.kv_peak, self.kv_in_use)
        figures.kv_seconds += self.kv_in_use * seconds
        figures.sequence_seconds += len(self._running) * seconds
        figures.waiting_seconds += len(self._queue) * seconds

    def _admit(self, most: int) -> None:
        """Let waiting requests into the batch, the most urgent first, while there is room.

        Args:
            most: sequences of the batch.
        """
        limits = self.limits
        if not self._queue or len(self._running) >= most:
            return
        decoding = sum(1 for job in self._running if job.decoding)
        budget = limits.max_num_batched_tokens - decoding
        budget -= sum(job.size - job.computed for job in self._running if not job.decoding)
        while self._queue and len(self._running) < most:
            if budget <= 0 and self._running:
                return
            job = self._queue[0][3]
            node, cached = self._cached(job)
            self._tree.pin(node)
            needed = self._blocks(job.size) - cached
            if not self._reserve(needed):
                self._tree.unpin(node)
                return
            heapq.heappop(self._queue)
            job.node, job.shared, job.computed, job.reserved = node, cached, cached, needed
            job.decoding = job.written > 0 and cached == job.size - 1
            self._held += needed
            if job.cached is None:
                job.cached = cached
                self.figures.cached_tokens += cached
                if job.start is not None and limits.prefix_cache and limits.scores_read_cache:
                    self.figures.score_tokens += job.size - cached
                    self.figures.score_context_tokens += job.start - cached
            self._running.append(job)
            # Engines share a prompt's blocks as soon as it is scheduled: a request with the same
            # prefix in the same step reads them (vLLM), or waits for the next step (SGLang).
            self._publish(job, cached + max(0, min(budget, job.size - cached)))
            budget -= job.size - cached

    def _cached(self, job: SimulatedJob) -> tuple[RadixNode, int]:
        """Tokens of a request's context that are in the prefix cache, in whole blocks."""
        limits = self.limits
        if not limits.prefix_cache or (job.start is not None and not limits.scores_read_cache):
            return self._tree.root, 0
        # The last token's logits are needed, and for a score those before its first token.
        most = job.size - 1 if job.start is None else job.start - 1
        context = job.prefix(job.size)
        _, length = self._tree.match(context, most)
        return self._tree.match(context, length - length % limits.block)

    def _chunks(self, decoding: int) -> dict[SimulatedJob, int]:
        """How many prompt tokens of which request the next step computes."""
        budget = self.limits.max_num_batched_tokens - decoding
        chunks: dict[SimulatedJob, int] = {}
        for job in self._running:
            if not job.decoding and budget > 0:
                chunks[job] = min(budget, job.size - job.computed)
                budget -= chunks[job]
        return chunks

    def _stride(self, decodes: Sequence[SimulatedJob]) -> int:
        """Steps until the batch changes by itself, as far as all of them find room."""
        most = SHARED_STRIDE if self.device is not None else LONGEST_STRIDE
        stride = min([most, *[len(job.writes) - job.written for job in decodes]])
        if self._surely(len(decodes), stride) or self._reserve(self._growth(decodes, stride)):
            return stride
        return 1

    def _make_room(self, decodes: list[SimulatedJob]) -> list[SimulatedJob]:
        """Room for one token each; where there is none the least urgent request is preempted."""
        if self._surely(len(decodes), 1):
            return decodes
        while decodes and not self._reserve(self._growth(decodes, 1)):
            victim = max(self._running, key=lambda job: (job.priority, job.arrived, job.order))
            self._running.remove(victim)
            self._release(victim)
            victim.computed, victim.decoding = 0, False
            self.figures.preemptions += 1
            self._enqueue(victim)
            decodes = [job for job in decodes if job is not victim]
        return decodes

    def _surely(self, jobs: int, tokens: int) -> bool:
        """Whether `tokens` more of each find room whatever they hold, with nothing dropped."""
        free = self.limits.kv_tokens - self._tree.tokens - self._held
        return jobs * self._blocks(tokens) <= free

    def _growth(self, jobs: Sequence[SimulatedJob], tokens: int) -> int:
        """Further tokens of KV cache, in whole blocks, that `tokens` more of each need."""
        block, growth = self.limits.block, 0
        for job in jobs:
            lacking = (
                job.computed + tokens - job.shared - job.reserved
            )  # what it has are whole blocks
            if lacking > 0:
                growth += -(-lacking // block) * block
        return growth

    def _reserve(self, tokens: int) -> bool:
        """Whether so much is free, after dropping what is cached and not in use."""
        free = self.limits.kv_tokens - self._tree.tokens - self._held
        if free + self.kv_cached < tokens:
            return False
        if free < tokens:
            self._tree.evict(tokens - free)
        return True

    def _computed(self, job: SimulatedJob, size: int, now: float) -> None:
        """A chunk of a prompt is done; behind its last one comes the first token."""
        job.computed += size
        self.figures.computed_tokens += size
        if job.computed < job.size:
            return
        self._publish(job, job.computed)
        if job.writes:
            job.written += 1
            job.decoding = True
            self.figures.written_tokens += 1
            if job.first_token is None:
                job.first_token = now - job.arrived
        if job.complete:
            self._finish(job)

    def _decoded(self, jobs: Sequence[SimulatedJob], tokens: int) -> None:
        """Each has written so many tokens."""
        block = self.limits.block
        for job in jobs:
            job.computed += tokens
            job.written += tokens
            lacking = job.computed - job.shared - job.reserved
            if lacking > 0:
                room = -(-lacking // block) * block
                job.reserved += room
                self._held += room
        self.figures.written_tokens += tokens * len(jobs)
        for job in [job for job in jobs if job.written >= len(job.writes)]:
            self._finish(job)

    def _publish(self, job: SimulatedJob, tokens: int) -> None:
        """Share so many tokens of its context, in whole blocks, with requests that come later."""
        assert job.node is not None
        whole = tokens - tokens % self.limits.block
        if not self.limits.prefix_cache or whole <= job.shared:
            return
        self._held -= whole - job.shared
        job.reserved -= whole - job.shared
        node = self._tree.insert(job.node, job.prefix(whole)[job.shared :])
        self._tree.pin(node)
        self._tree.unpin(job.node)
        job.node, job.shared = node, whole

    def _finish(self, job: SimulatedJob) -> None:
        self._running.remove(job)
        self._release(job)
        if not job.finished.done():
            job.finished.set_result(None)

    def _release(self, job: SimulatedJob) -> None:
        """Give the KV cache back; what was computed stays cached while there is room."""
        assert job.node is not None
        self._publish(job, job.computed)
        self._held -= job.reserved
        self._tree.unpin(job.node)
        job.node, job.shared, job.reserved = None, 0, 0

    def _abort(self, job: SimulatedJob) -> None:
        if job.node is not None:
            self._running.remove(job)
            self._release(job)
            self._tell(True)
            return
        entry = (job.priority, job.arrived, job.order, job)
        if entry in self._queue:
            self._queue.remove(entry)
            heapq.heapify(self._queue)

    def _enqueue(self, job: SimulatedJob) -> None:
        heapq.heappush(self._queue, (job.priority, job.arrived, job.order, job))

    def _step(
        self, decodes: Sequence[SimulatedJob], chunks: Mapping[SimulatedJob, int], stride: int
    ) -> Step:
        """What a step computes; of several steps their mean."""
        read: float = sum([job.computed for job in decodes]) + len(decodes)
        read += (stride - 1) / 2.0 * len(decodes)
        pairs, rows = read, float(len(decodes))
        for job, size in chunks.items():
            read += job.computed + size
            pairs += size * job.computed + size * (size + 1) / 2.0
            # Engines compute the logits of every prompt token of a chunk that is scored.
            ends = job.computed + size >= job.size
            rows += size if job.start is not None else 1 if ends else 0
        return Step(
            decodes=len(decodes),
            prefills=len(chunks),
            prompt_tokens=sum(chunks.values()),
            context=read,
            pairs=pairs,
            rows=rows,
        )

    def _blocks(self, tokens: int) -> int:
        block = self.limits.block
        return -(-tokens // block) * block
