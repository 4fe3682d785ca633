"""What a simulated engine is set up with, works on, and tells of its work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from atts_harness.simulation.radix import RadixNode

__all__ = ["EngineFigures", "EngineLimits", "SimulatedJob"]


@dataclass(frozen=True)
class EngineLimits:
    """How an engine is set up.

    Attributes:
        kv_tokens: capacity of the KV cache, in tokens.
        max_num_seqs: sequences in one batch.
        max_num_batched_tokens: tokens of one step.
        block: tokens of a block of the prefix cache; hits are whole blocks.
        prefix_cache: whether prompts read it.
        scores_read_cache: whether scores do; else each computes its whole context.
        mixed_steps: whether a step computes prompts beside sequences that decode (vLLM); else
            sequences that decode wait while there are prompts to compute (SGLang).
    """

    kv_tokens: int
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    block: int = 16
    prefix_cache: bool = True
    scores_read_cache: bool = True
    mixed_steps: bool = True


@dataclass
class EngineFigures:
    """What an engine did.

    Attributes:
        steps: taken.
        busy: seconds in steps.
        compute: seconds of arithmetic in them.
        memory: seconds of memory traffic.
        links: seconds of all-reduces.
        overhead: seconds of everything else.
        requests: that came.
        prompt_tokens: of all requests.
        cached_tokens: of them, read from the prefix cache.
        computed_tokens: prompt tokens computed, those of preempted requests again.
        score_tokens: prompt tokens that scores computed, where they read the prefix cache.
        score_context_tokens: of them, those before the first one that is scored: the prefix cache
            did not have them.
        written_tokens: generated.
        preemptions: of running requests.
        kv_peak: most tokens of KV cache in use by running requests at a time.
        kv_seconds: tokens of KV cache in use, times seconds.
        sequence_seconds: running requests, times seconds.
        waiting_seconds: queued requests, times seconds.
    """

    steps: float = 0.0
    busy: float = 0.0
    compute: float = 0.0
    memory: float = 0.0
    links: float = 0.0
    overhead: float = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    score_tokens: int = 0
    score_context_tokens: int = 0
    written_tokens: int = 0
    preemptions: int = 0
    kv_peak: int = 0
    kv_seconds: float = 0.0
    sequence_seconds: float = 0.0
    waiting_seconds: float = 0.0


@dataclass(eq=False, slots=True)
class SimulatedJob:
    """One request in an engine.

    Attributes:
        ids: the context.
        writes: ids it will generate; empty for a score.
        start: first scored position; None for a generation.
        priority: smaller is more urgent.
        arrived: when it came, in simulated seconds.
        order: of coming, among those of the same moment.
        finished: set when it has ended.
        cached: tokens that it read from the prefix cache when it was first let in.
        first_token: seconds from its coming to its first token.
        computed: tokens whose keys and values are there, cached ones included.
        written: tokens generated so far.
        node: where its shared part ends in the prefix cache; None while it waits.
        shared: tokens of that part.
        reserved: tokens of KV cache of its own.
        decoding: whether it computes one token a step and writes the next.
    """

    ids: Sequence[int]
    writes: tuple[int, ...]
    start: int | None
    priority: int
    arrived: float
    order: int
    finished: asyncio.Future[None]
    cached: int | None = None
    first_token: float | None = None
    computed: int = 0
    written: int = 0
    node: RadixNode | None = None
    shared: int = 0
    reserved: int = 0
    decoding: bool = False

    @property
    def size(self) -> int:
        """Tokens of its context and of what it wrote already."""
        return len(self.ids) + self.written

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        if self.writes:
            return self.written >= len(self.writes)
        return self.computed >= len(self.ids)

    def prefix(self, end: int) -> tuple[int, ...]:
        """The ids of its first `end` positions."""
        context = len(self.ids)
        return (
            tuple(self.ids[:end]) if end <= context else (*self.ids, *self.writes[: end - context])
        )
