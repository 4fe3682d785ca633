"""A simulated model behind the backend contract: `SimulatedBackend`.

The scheduler, the limits and the strategies meet it as they meet a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    ScoreRequest,
    Usage,
)
from atts_harness.identity import ModelIdentity
from atts_harness.running.client import CURRENT_CALL
from atts_harness.simulation.behaviour import Behaviour
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import SimulatedJob
from atts_harness.simulation.words import WordTokenizer

__all__ = ["SimulatedBackend"]


class SimulatedBackend:
    """One model on one simulated engine.

    Args:
        engine: where the time goes.
        behaviour: what is written.
        tokenizer: the behaviour's.
        model: its name.
        max_length: context window in tokens.
        latency: seconds from the client to the engine and back.
    """

    def __init__(
        self,
        engine: SimulatedEngine,
        behaviour: Behaviour,
        tokenizer: WordTokenizer,
        *,
        model: str,
        max_length: int,
        latency: float = 0.0,
    ) -> None:
        self.engine = engine
        self.behaviour = behaviour
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.latency = latency
        self.capabilities = Capabilities(
            scores_read_cache=engine.limits.scores_read_cache, top_logprobs=0
        )
        self.identity = ModelIdentity(
            engine="simulated", model=model, tokenizer=tokenizer.fingerprint
        )

    async def identify(self) -> ModelIdentity:
        """Always the same."""
        return self.identity

    async def ping(self) -> None:
        """Do nothing: it always answers."""

    async def metrics(self) -> Mapping[str, float]:
        """The engine's figures, under the names that are the same for every engine."""
        engine = self.engine
        return {
            "running": engine.running,
            "waiting": engine.waiting,
            "kv_usage": engine.kv_in_use / engine.limits.kv_tokens,
            "prompt_tokens": engine.figures.prompt_tokens,
            "cached_tokens": engine.figures.cached_tokens,
            "generation_tokens": engine.figures.written_tokens,
        }

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids` as the behaviour says."""
        written = self.behaviour.write(CURRENT_CALL.get(), request)
        await self._travel()
        job = await self.engine.generate(request.ids, written.ids, request.priority)
        await self._travel()
        return GenerateReply(
            ids=written.ids,
            ending=written.ending,
            stop=written.stop,
            usage=self._usage(job, completion_tokens=len(written.ids)),
        )

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on as the behaviour says."""
        logprobs = self.behaviour.score(CURRENT_CALL.get(), request)
        await self._travel()
        job = await self.engine.score(request.ids, request.start, request.priority)
        await self._travel()
        return ScoreReply(logprobs=logprobs, usage=self._usage(job, scored_tokens=len(logprobs)))

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    async def _travel(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency / 2)

    def _usage(
        self, job: SimulatedJob, completion_tokens: int = 0, scored_tokens: int = 0
    ) -> Usage:
        return Usage(
            prompt_tokens=len(job.ids),
            cached_tokens=job.cached or 0,
            completion_tokens=completion_tokens,
            scored_tokens=scored_tokens,
            time_to_first_token=job.first_token,
        )
