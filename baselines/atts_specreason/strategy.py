"""SpecReason (arXiv 2504.07891).

Step by step:

    1. the draft writes a step, up to a blank line;
    2. the target rates it: one token, a digit from 0 to 9;
    3. at `threshold` or above it is kept, else it is thrown away and the target writes the step;
    4. an answer marker, two equal steps or a spent budget end the sample.

The judging turn is the transcript's ids with a rendered tail: nothing is rendered again, so the
target's prefix cache holds every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from atts_harness.records import Finish
from atts_harness.strategy import (
    Context,
    Outcome,
    RoleClient,
    RunInfo,
    Sample,
    Settled,
    Strategy,
    StrategyOptions,
    Verdict,
)
from atts_harness.transcript import Message, Segment, Transcript
from atts_specreason.judging import JUDGING, Judgement
from atts_specreason.options import SpecReasonOptions
from atts_specreason.steps import has_marker, with_step, without_think_close


@dataclass
class Tally:
    """Facts for the sample's record; what the published artefacts lack."""

    judged: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """One more."""
        self.counts[name] = self.counts.get(name, 0) + 1


class SpecReason(Strategy):
    """The draft writes steps; the target grades each with a digit and redoes bad ones."""

    name: ClassVar[str] = "specreason"
    Options: ClassVar[type[StrategyOptions]] = SpecReasonOptions
    options: SpecReasonOptions

    def __init__(self, options: SpecReasonOptions, run: RunInfo) -> None:
        self.options = options

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        options = self.options
        transcript = sample.transcript
        tally = Tally()
        ctx.note("judged", tally.judged)
        ctx.note("counts", tally.counts)
        steps: list[str] = []
        while True:
            step = await self._step(transcript, ctx, len(steps), tally)
            steps.append(step.text.removesuffix(options.step_stop))
            transcript = self._joined(transcript, step)
            if reason := self._over(transcript, step, steps, ctx, tally):
                return ctx.finish(transcript, reason)

    async def _step(self, transcript: Transcript, ctx: Context, n: int, tally: Tally) -> Segment:
        """The step that is kept, whoever wrote it."""
        if n < self.options.first_n_steps_target:
            tally.count("steps the target was not asked about")
            return await self._write(ctx.target, "takeover", transcript, ctx, n, tally)
        step = await self._write(ctx.draft, "draft", transcript, ctx, n, tally)
        author = ctx.draft
        judgement = await self._judge(self._joined(transcript, step), ctx, n)
        kept = judgement.score >= self.options.threshold
        tally.judged.append(_noted(n, judgement, kept))
        if ctx.decide(Settled(Verdict(takeover=not kept)), None, n).takeover:
            ctx.discard(step)
            step = await self._write(ctx.target, "takeover", transcript, ctx, n, tally)
            author = ctx.target
        if self.options.think_close == "strip" and not has_marker(step):
            stripped = without_think_close(step, author.tokenizer)
            if stripped is not step:
                tally.count("end of thinking deleted")
            step = stripped
        return step

    async def _write(
        self,
        author: RoleClient,
        kind: str,
        transcript: Transcript,
        ctx: Context,
        n: int,
        tally: Tally,
    ) -> Segment:
        reply = await author.generate(
            transcript,
            kind=kind,
            turn=n,
            max_tokens=ctx.room(transcript, self.options.step_tokens),
            stop=(self.options.step_stop,),
        )
        if reply.segment.ending != "stop":
            tally.count(f"{kind} steps ended by {reply.segment.ending}")
        return reply.segment

    async def _judge(self, candidate: Transcript, ctx: Context, n: int) -> Judgement:
        reply = await ctx.target.generate(
            candidate,
            kind="judge",
            turn=n,
            max_tokens=1,
            temperature=0.0,
            top_logprobs=self.options.judge_top,
            tail=(Message("user", self.options.judge_question),),
            prefill=self.options.judge_prefill,
        )
        return JUDGING[self.options.judging](reply)

    def _joined(self, transcript: Transcript, step: Segment) -> Transcript:
        options = self.options
        return with_step(
            transcript,
            step,
            options.step_stop,
            after_eos=options.on_eos == "continue",
            always=options.paper_join,
        )

    def _over(
        self,
        transcript: Transcript,
        step: Segment,
        steps: list[str],
        ctx: Context,
        tally: Tally,
    ) -> Finish | None:
        if reason := ctx.ended(transcript):
            return reason
        if step.ending == "eos" and self.options.on_eos == "end":
            return "eos"  # also of an empty step, which leaves no trace in the transcript
        if not step and step.ending == "length":
            return "budget"  # the room left does not hold the next character
        if self.options.finish_on == "markers" and has_marker(step):
            tally.count("ended by a marker without an answer")
            return "strategy"
        if self.options.repeat_breaker and len(steps) > 2 and steps[-1] == steps[-2]:
            tally.count("ended by a repeated step")
            return "strategy"
        return None


def _noted(n: int, judgement: Judgement, kept: bool) -> dict[str, Any]:
    digits = {text: round(p, 4) for text, p in judgement.digits.items()}
    return {
        "step": n,
        "score": judgement.score,
        "token": judgement.token,
        "digits": digits,
        "kept": kept,
    }
