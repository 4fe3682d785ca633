"""What ATTS replaces: the samples of a problem go turn by turn together, the worst are taken over.

All draft; all wait; the target scores all; all wait; the B with the worst scores are taken over;
all wait. Ranking within the turn needs no bank, and costs every sample the time of the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from atts_harness.atts import nothing_left, write_takeover
from atts_harness.drafts import further_tokens, write_draft
from atts_harness.strategy import (
    Context,
    Outcome,
    RunInfo,
    Sample,
    Score,
    Settled,
    Strategy,
    StrategyOptions,
    Verdict,
)
from atts_harness.transcript import Segment, Transcript, inserted
from atts_harness.turns import TurnOptions


class SynchronousOptions(TurnOptions, frozen=True, kw_only=True):
    """Options of ATTS's turns, and the share of a turn's samples that is taken over."""

    rate: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=1, description="share of a turn's samples that are taken over: B of m is B/m"
        ),
    ] = 0.4


class Synchronous(Strategy):
    """Barriers at every turn; the worst scores of the turn are taken over."""

    name: ClassVar[str] = "synchronous"
    Options: ClassVar[type[StrategyOptions]] = SynchronousOptions
    scores: ClassVar[bool] = True

    options: SynchronousOptions

    def __init__(self, options: SynchronousOptions, run: RunInfo) -> None:
        self.options = options
        self.grouped = True

    @property
    def nominal_rate(self) -> float:
        """The share of a turn's samples that is taken over."""
        return self.options.rate

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        options = self.options
        transcript = sample.transcript
        extra = 0
        for turn in range(options.turns):
            before = transcript.tokens
            if turn and options.paper_join:
                transcript += inserted("\n\n", turn=turn)
            draft = (await write_draft(transcript, ctx, options, turn, extra=extra)).segment
            await ctx.gather(f"drafted {turn}", None)
            if not draft and options.on_empty == "end":
                reason = nothing_left(transcript, draft, ctx, options)
                if reason is not None:
                    return ctx.finish(transcript, reason)
            takeover = await self._decide(sample, transcript, draft, ctx, turn)

            if takeover and options.on_reject == "replace":
                ctx.discard(draft)
            else:
                transcript += draft
            if takeover and (room := ctx.room(transcript, options.target_tokens + extra)):
                written = await write_takeover(transcript, ctx, options, turn, room)
                if not written and written.ending == "eos":
                    return ctx.finish(transcript, ctx.ended(transcript) or "eos")
                transcript += written
            if reason := ctx.ended(transcript):
                return ctx.finish(transcript, reason)
            extra = further_tokens(options, before, transcript)
            await ctx.gather(f"turned {turn}", None)
        return ctx.finish(transcript, "turns")

    async def _decide(
        self, sample: Sample, transcript: Transcript, draft: Segment, ctx: Context, turn: int
    ) -> bool:
        """Wait for the other samples' scores, then rank; a sample without a score waits, too."""
        score: Score | None = None
        if draft:
            raw = self.options.score_template == "raw"
            score = await ctx.target.score(transcript, draft, turn=turn, raw=raw)
        s = None if score is None else score.nonconformity
        by_repeat = await ctx.gather(f"scored {turn}", (s, ctx.uniform("decide", turn)))
        if not draft:
            on_empty = self.options.on_empty == "takeover"
            return on_empty and ctx.take_over(turn, "empty-draft").takeover
        verdict = Verdict(takeover=True)
        if s is not None:
            verdict = judge(sample.id.repeat, by_repeat, self.options.rate)
        return ctx.decide(Settled(verdict), score, turn).takeover


def judge(repeat: int, by_repeat: Mapping[int, tuple[float | None, float]], rate: float) -> Verdict:
    """Whether a sample is among the worst of its turn.

    Args:
        repeat: the sample to judge; it must have a score.
        by_repeat: nonconformity (None: no score) and a draw in [0, 1), by repeat.
        rate: share to take over. If rate * n is not an integer, the draw of the first sample rounds
            it, in the same way for all, so that the share is right on average even when one sample
            is left.
    """
    scored = {r: (s, draw) for r, (s, draw) in by_repeat.items() if s is not None}
    takeovers = math.floor(rate * len(scored) + scored[min(scored)][1])
    order = sorted(scored, key=lambda r: (-scored[r][0], scored[r][1], r))
    rank = order.index(repeat) + 1
    return Verdict(
        takeover=rank <= takeovers,
        p_value=rank / len(scored),
        threshold=takeovers / len(scored),
        bank_size=len(scored),
        bank="siblings",
    )
