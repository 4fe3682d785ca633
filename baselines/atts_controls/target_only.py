"""The target alone."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from atts_harness.backend import Role
from atts_harness.strategy import Context, Outcome, RunInfo, Sample, Strategy, StrategyOptions


class TargetOnlyOptions(StrategyOptions, frozen=True, kw_only=True):
    """Options: one call a sample, or chunks with a search for an answer after each."""

    chunk_tokens: Annotated[
        int,
        msgspec.Meta(
            ge=0, description="most tokens of a call; 0: one call, up to the budget of the sample"
        ),
    ] = 0
    turn_stop: Annotated[
        str, msgspec.Meta(description="text that ends a chunk (kept); only with chunk_tokens")
    ] = ""


class TargetOnly(Strategy):
    """The target writes the whole sample.

    It does so in one call, as a target is normally served; chunks would make the baseline pay for
    scheduling and prefills that nobody needs. To see what ATTS gains by stopping at an answer,
    compare with `chunk_tokens` equal to ATTS's own chunk.
    """

    name: ClassVar[str] = "target-only"
    Options: ClassVar[type[StrategyOptions]] = TargetOnlyOptions
    roles: ClassVar[tuple[Role, ...]] = ("target",)
    options: TargetOnlyOptions

    def __init__(self, options: TargetOnlyOptions, run: RunInfo) -> None:
        self.options = options
        self._engine = run.provenance.get("roles", {}).get("target", {})

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        if self._engine.get("speculative"):
            ctx.note("speculative decoding", self._engine["speculative"])
        transcript = sample.transcript
        chunk = self.options.chunk_tokens or None
        stops = (self.options.turn_stop,) if chunk and self.options.turn_stop else ()
        for turn in range(sample.problem.max_tokens):
            reply = await ctx.target.generate(
                transcript,
                kind="takeover",
                turn=turn,
                max_tokens=ctx.room(transcript, chunk),
                stop=(*stops, *sample.problem.until),
            )
            transcript += reply.segment
            if reason := ctx.ended(transcript):
                return ctx.finish(transcript, reason)
            if reply.segment.ending == "eos":
                return ctx.finish(transcript, "eos")
            if chunk is None:
                break  # cut below the budget: the context window was smaller
        return ctx.finish(transcript, "context")
