"""Handover: the draft begins, the target reads it and finishes."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from msgspec import Meta

from atts_harness.hookspecs import hookimpl
from atts_harness.strategy import (
    Context,
    Outcome,
    RunInfo,
    Sample,
    Settled,
    Strategy,
    StrategyOptions,
    Verdict,
)


class HandoverOptions(StrategyOptions, frozen=True, kw_only=True):
    """What `--model_args` may say; types and bounds are checked before anything is opened."""

    draft_tokens: Annotated[int, Meta(ge=1, description="most tokens of the beginning")] = 200
    limit: Annotated[
        float, Meta(ge=0, description="nats per token above which a beginning is thrown away")
    ] = 1.0


class Handover(Strategy):
    """The draft writes a beginning; unless the target finds it too unlikely, it goes on there."""

    name: ClassVar[str] = "handover"
    Options: ClassVar[type[StrategyOptions]] = HandoverOptions
    scores: ClassVar[bool] = True  # the target must be able to score

    def __init__(self, options: HandoverOptions, run: RunInfo) -> None:
        self.options = options

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        transcript = sample.transcript
        room = ctx.room(transcript, self.options.draft_tokens)
        drafted = await ctx.draft.generate(transcript, kind="draft", turn=0, max_tokens=room)
        beginning = drafted.segment
        if beginning:
            score = await ctx.target.score(transcript, beginning, turn=0)
            s = score.nonconformity  # None if scoring failed for good: then the draft goes
            verdict = Verdict(takeover=s is None or s > self.options.limit)
            if ctx.decide(Settled(verdict), score, turn=0).takeover:
                ctx.discard(beginning)
            else:
                transcript += beginning
        if reason := ctx.ended(transcript):
            return ctx.finish(transcript, reason)

        room = ctx.room(transcript)
        finished = await ctx.target.generate(transcript, kind="takeover", turn=1, max_tokens=room)
        return ctx.finish(transcript + finished.segment)


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """What this package adds."""
    return [Handover]
