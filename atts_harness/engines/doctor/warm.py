"""Warm-up batches: what a server compiles and allocates lazily, before anything is timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from atts_harness import guards
from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.backend import EngineBackend
from atts_harness.engines.served import SAMPLE_TEXT

BATCHES = (1, 2, 4, 8, 16, 32)
CONTEXTS = (64, 512, 2048, 8192)
NEW_TOKENS = 8


@dataclass(frozen=True)
class WarmupGrade:
    """One grade of the warm-up.

    Attributes:
        kind: `generate`, `generate with log-probabilities` or `score`.
        batch: requests at once.
        context: tokens of each.
        first: seconds of the first round, compilation included.
        second: seconds of the same again.
    """

    kind: str
    batch: int
    context: int
    first: float
    second: float


async def warm_up(backend: EngineBackend, largest: int = BATCHES[-1]) -> AsyncIterator[WarmupGrade]:
    """Send growing batches of growing contexts, each twice, and time both rounds.

    Args:
        backend: opened.
        largest: most requests at once.
    """
    text = backend.tokenizer.encode(SAMPLE_TEXT)
    # No context is longer than the window.
    most = max(1, backend.max_length - NEW_TOKENS - 1)
    sizes = [n for n in CONTEXTS if n <= most] or [most]
    grades = [(b, sizes[0]) for b in BATCHES if b <= largest] + [(1, n) for n in sizes[1:]]
    kinds = ["generate"]
    if backend.capabilities.top_logprobs:
        kinds.append("generate with log-probabilities")
    if backend.capabilities.scores:
        kinds.append("score")
    for kind in kinds:
        for batch, context in grades:
            ids = (text * (context // len(text) + 1))[:context]
            rounds = [await _round(backend, kind, batch, ids) for _ in range(2)]
            yield WarmupGrade(kind, batch, context, *rounds)


async def _round(backend: EngineBackend, kind: str, batch: int, ids: tuple[int, ...]) -> float:
    began = time.perf_counter()
    if kind == "score":
        request = ScoreRequest(ids=ids, start=len(ids) // 2)
        await asyncio.gather(*(guards.score(backend, request) for _ in range(batch)))
    else:
        generate_request = GenerateRequest(
            ids=ids,
            max_tokens=NEW_TOKENS,
            sampling=Sampling(temperature=1.0),
            top_logprobs=0 if kind == "generate" else 1,
        )
        await asyncio.gather(*(guards.generate(backend, generate_request) for _ in range(batch)))
    return time.perf_counter() - began
