"""GlimpRouter (Findings of ACL 2026).

Step by step, while the models think:

    1. the draft makes one token; H is the entropy of its likeliest candidates; no token is kept;
    2. at `threshold` or above the target writes the step, else the draft does, up to a blank line;
    3. `</think>`, two equal steps or a spent budget end the thinking;
    4. the target writes the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from atts_harness.errors import SampleFailedError
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.records import Finish
from atts_harness.signals import entropy
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
from atts_harness.transcript import Piece, Segment, Transcript, inserted

THINK_CLOSE = "</think>"
CANDIDATES = 20
ANSWER_SHARE = 5
"""At most this part (one in N) of the budget is kept for the answer; published: 2048 of 10240."""


def _is(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


class GlimpRouterOptions(StrategyOptions, frozen=True, kw_only=True):
    """Options: who writes a step and how steps are cut; defaults are those of the run script."""

    threshold: Annotated[
        float, _is("the target writes the step if the entropy, in nats, is at least this", ge=0)
    ] = 0.9
    first_n_steps_target: Annotated[
        int, _is("steps that the target writes without a probe", ge=0)
    ] = 0
    step_tokens: Annotated[int, _is("most tokens of a step", ge=1)] = 512
    step_stop: Annotated[str, _is("text that ends a step (kept)", min_length=1)] = "\n\n"
    answer_tokens: Annotated[
        int, _is("most tokens of the answer; a fifth of the budget at most is kept for it", ge=1)
    ] = 2048


class GlimpRouter(Strategy):
    """The draft's uncertainty about a step's first token decides who writes the step."""

    name: ClassVar[str] = "glimprouter"
    Options: ClassVar[type[StrategyOptions]] = GlimpRouterOptions
    top_logprobs: ClassVar[int] = CANDIDATES
    options: GlimpRouterOptions

    def __init__(self, options: GlimpRouterOptions, run: RunInfo) -> None:
        self.options = options

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        transcript = sample.transcript
        entropies: list[float | None] = []
        ctx.note("entropies", entropies)
        budget = sample.problem.max_tokens
        answer = min(self.options.answer_tokens, max(1, budget // ANSWER_SHARE))
        steps: list[str] = []
        while (room := ctx.room(transcript) - answer) > 0:
            step = await self._step(transcript, ctx, len(steps), room, entropies)
            steps.append(step.text.removesuffix(self.options.step_stop))
            transcript += step
            reason = ctx.ended(transcript)
            if reason in ("answer", "until"):  # a turn that was closed goes on, as published
                return ctx.finish(transcript, reason)
            if THINK_CLOSE in step.text or (len(steps) > 2 and steps[-1] == steps[-2]):
                break
            if not step and step.ending == "length":
                break  # the room left does not hold the next character
            if not step.text.endswith(self.options.step_stop):
                transcript += inserted(self.options.step_stop, turn=step.turn)
        if THINK_CLOSE not in transcript.text:
            transcript += closing(len(steps))
        reply = await ctx.target.generate(
            transcript,
            kind="answer",
            turn=len(steps),
            max_tokens=ctx.room(transcript, self.options.answer_tokens),
            stop=sample.problem.until,
        )
        transcript += reply.segment
        closed: Finish = "eos" if reply.segment.ending == "eos" else "budget"
        return ctx.finish(transcript, ctx.ended(transcript) or closed)

    async def _step(
        self,
        transcript: Transcript,
        ctx: Context,
        n: int,
        room: int,
        entropies: list[float | None],
    ) -> Segment:
        """One step, by the model that has to write it."""
        takeover = True
        if n < self.options.first_n_steps_target:
            entropies.append(None)
        else:
            h = await self._probe(transcript, ctx, n)
            entropies.append(round(h, 4))
            verdict = Verdict(takeover=h >= self.options.threshold)
            takeover = ctx.decide(Settled(verdict), None, n).takeover
        author, kind = (ctx.target, "takeover") if takeover else (ctx.draft, "draft")
        reply = await author.generate(
            transcript,
            kind=kind,
            turn=n,
            max_tokens=min(room, self.options.step_tokens),
            stop=(self.options.step_stop,),
        )
        return reply.segment

    async def _probe(self, transcript: Transcript, ctx: Context, n: int) -> float:
        reply = await ctx.draft.generate(
            transcript,
            kind="probe",
            turn=n,
            max_tokens=1,
            temperature=0.0,
            top_logprobs=CANDIDATES,
        )
        ctx.discard(reply.segment)
        if not reply.candidates or not reply.candidates[0]:
            raise SampleFailedError("the draft's server sent no candidates of a probe's token")
        return entropy(reply.candidates[0])


def closing(turn: int) -> Segment:
    """The end of thinking, which no model wrote."""
    pieces = (Piece("\n"), Piece(THINK_CLOSE, named=True), Piece("\n\n"))
    return Segment(author="strategy", pieces=pieces, turn=turn, kind="insert")


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """GlimpRouter."""
    return [GlimpRouter]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published sampling and budget; the strategy's defaults are the other published values."""
    return [
        Preset(
            name="glimprouter-paper",
            summary="GlimpRouter as published: entropy .9, temperature 0.6, 8192 + 2048 tokens",
            settings={
                "strategy": "glimprouter",
                "draft_temperature": 0.6,
                "target_temperature": 0.6,
                "top_p": 0.95,
                "max_gen_toks": 10240,
                "stop_at_answer": False,
            },
        )
    ]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The paper."""
    return [Path(__file__).with_name("references.yml")]
