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

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec

from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.records import Finish
from atts_harness.strategy import (
    Context,
    Generation,
    Outcome,
    RoleClient,
    RunInfo,
    Sample,
    Settled,
    Strategy,
    StrategyOptions,
    Verdict,
)
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Message, Piece, Segment, Transcript, inserted

if TYPE_CHECKING:
    from atts_harness.results.foreign import PublishedFormat

# What the published code takes for an answer, wherever it stands in a step.
MARKERS = ("boxed", "Answer:", "ANSWER:")
THINK_CLOSE = "</think>"
JUDGE_QUESTION = (
    "Rate the last step for factual and logical correctness, from 0 (certainly wrong) to 9 "
    "(certainly right). Ignore style and usefulness. Reply with one digit."
)
JUDGE_PREFILL = "<think>\nThe score is: "


def _is(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


class SpecReasonOptions(StrategyOptions, frozen=True, kw_only=True):
    """How steps are cut, judged and joined; the defaults are the published ones."""

    threshold: Annotated[
        float, _is("a step is kept if its score is at least this (0 to 9)", ge=0, le=9)
    ] = 7.0
    judging: Annotated[
        Literal["greedy", "average"],
        _is(
            "the score: the target's most likely digit, or the mean over the digits among its "
            "likeliest tokens"
        ),
    ] = "greedy"
    first_n_steps_target: Annotated[
        int, _is("steps that the target writes without being asked", ge=0)
    ] = 0
    step_tokens: Annotated[int, _is("most tokens of a step", ge=1)] = 512
    step_stop: Annotated[str, _is("text that ends a step (kept)", min_length=1)] = "\n\n"
    think_close: Annotated[
        Literal["strip", "keep"],
        _is(
            "`</think>` in a step without an answer marker: delete it, as published, or let "
            "thinking end"
        ),
    ] = "strip"
    on_eos: Annotated[
        Literal["continue", "end"],
        _is(
            "a step that closes its turn: go on behind a blank line, as published, or end the "
            "sample"
        ),
    ] = "continue"
    finish_on: Annotated[
        Literal["markers", "answer"],
        _is(
            "what ends a sample: `boxed`, `Answer:` or `ANSWER:` anywhere in a step, as "
            "published, or a complete answer only"
        ),
    ] = "markers"
    repeat_breaker: Annotated[
        bool, _is("end a sample whose last two steps (of three) are equal")
    ] = True
    paper_join: Annotated[
        bool, _is("a blank line behind steps cut by `step_tokens`, as published")
    ] = False
    judge_top: Annotated[int, _is("likeliest tokens that the judge returns", ge=1, le=20)] = 10
    judge_question: Annotated[str, _is("what the judging turn asks", min_length=1)] = JUDGE_QUESTION
    judge_prefill: Annotated[str, _is("how the judge's answer begins; the digit comes next")] = (
        JUDGE_PREFILL
    )


class SpecReason(Strategy):
    """The draft writes steps; the target grades each with a digit and redoes bad ones."""

    name: ClassVar[str] = "specreason"
    Options: ClassVar[type[StrategyOptions]] = SpecReasonOptions
    options: SpecReasonOptions

    def __init__(self, options: SpecReasonOptions, run: RunInfo) -> None:
        self.options = options

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        transcript = sample.transcript
        tally = StepTally([], Counter())
        ctx.note("judged", tally.judged)
        ctx.note("counts", tally.counts)
        steps: list[str] = []
        while True:
            step = await self._step(transcript, ctx, len(steps), tally)
            steps.append(step.text.removesuffix(self.options.step_stop))
            transcript = self._joined(transcript, step)
            if reason := self._over(transcript, step, steps, ctx, tally):
                return ctx.finish(transcript, reason)

    async def _step(
        self, transcript: Transcript, ctx: Context, n: int, tally: StepTally
    ) -> Segment:
        """One kept step, by either model."""
        if n < self.options.first_n_steps_target:
            tally.counts["steps the target was not asked about"] += 1
            return await self._write(ctx.target, "takeover", transcript, ctx, n, tally)
        step = await self._write(ctx.draft, "draft", transcript, ctx, n, tally)
        author = ctx.draft
        judgement = await self._judge(self._joined(transcript, step), ctx, n)
        accepted = judgement.score >= self.options.threshold
        tally.judged.append({"step": n, **judgement.note(), "kept": accepted})
        if ctx.decide(Settled(Verdict(takeover=not accepted)), None, n).takeover:
            ctx.discard(step)
            step = await self._write(ctx.target, "takeover", transcript, ctx, n, tally)
            author = ctx.target
        if self.options.think_close == "strip" and not has_marker(step):
            stripped = without_think_close(step, author.tokenizer)
            if stripped is not step:
                tally.counts["end of thinking deleted"] += 1
            step = stripped
        return step

    async def _write(
        self,
        author: RoleClient,
        kind: str,
        transcript: Transcript,
        ctx: Context,
        n: int,
        tally: StepTally,
    ) -> Segment:
        reply = await author.generate(
            transcript,
            kind=kind,
            turn=n,
            max_tokens=ctx.room(transcript, self.options.step_tokens),
            stop=(self.options.step_stop,),
        )
        if reply.segment.ending != "stop":
            tally.counts[f"{kind} steps ended by {reply.segment.ending}"] += 1
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
        """The transcript with a step added, and a blank line where the step has none.

        It is added after a step that closed its turn (`on_eos=continue`), because otherwise the
        next call would begin where this one decided to end. After a step that was cut it is added
        only as published (`paper_join`).
        """
        options = self.options
        longer = transcript + step
        if step.text.endswith(options.step_stop):
            return longer
        if options.paper_join or (options.on_eos == "continue" and step.ending == "eos"):
            return longer + inserted(options.step_stop, turn=step.turn)
        return longer

    def _over(
        self,
        transcript: Transcript,
        step: Segment,
        steps: list[str],
        ctx: Context,
        tally: StepTally,
    ) -> Finish | None:
        if reason := ctx.ended(transcript):
            return reason
        if step.ending == "eos" and self.options.on_eos == "end":
            return "eos"  # also of an empty step, which leaves no trace in the transcript
        if not step and step.ending == "length":
            return "budget"  # the room left does not hold the next character
        if self.options.finish_on == "markers" and has_marker(step):
            tally.counts["ended by a marker without an answer"] += 1
            return "strategy"
        if self.options.repeat_breaker and len(steps) > 2 and steps[-1] == steps[-2]:
            tally.counts["ended by a repeated step"] += 1
            return "strategy"
        return None


@dataclass(frozen=True)
class StepTally:
    """Counts for the sample's record, which the published files do not have."""

    judged: list[dict[str, Any]]
    counts: Counter[str]


@dataclass(frozen=True)
class Judgement:
    """What the target says of a step.

    Attributes:
        score: usually 0 to 9. It is larger if the vocabulary has several digits as one token, as
            in the published code: `85` is 85.
        token: the judge's token.
        digits: probability of each number among its likeliest tokens, not renormalised.
    """

    score: float
    token: str
    digits: dict[str, float]

    def note(self) -> dict[str, Any]:
        """As a sample's record has it."""
        digits = {text: round(p, 4) for text, p in self.digits.items()}
        return {"score": self.score, "token": self.token, "digits": digits}


def greedy(reply: Generation) -> Judgement:
    """The generated token as a number; 0 if it is none, for example because of a leading space."""
    token = reply.segment.text
    return Judgement(float(token) if token.isdecimal() else 0.0, token, _digits(reply))


def average(reply: Generation) -> Judgement:
    """The mean of the numbers among the likeliest tokens, weighted by probability; 0 if none."""
    digits = _digits(reply)
    mass = math.fsum(digits.values())
    score = 0.0
    if mass > 0:
        score = math.fsum(float(digit) * p for digit, p in digits.items()) / mass
    return Judgement(score, reply.segment.text, digits)


JUDGING = {"greedy": greedy, "average": average}


def _digits(reply: Generation) -> dict[str, float]:
    first = reply.top_logprobs[0] if reply.top_logprobs else {}
    return {text: math.exp(logprob) for text, logprob in first.items() if text.isdecimal()}


def has_marker(step: Segment) -> bool:
    """Whether a step seems to hold an answer."""
    return any(marker in step.text for marker in MARKERS)


def without_think_close(step: Segment, tokenizer: Tokenizer) -> Segment:
    """The step with every `</think>` deleted; its ids too, in the author's vocabulary."""
    if THINK_CLOSE not in step.text:
        return step
    pieces: list[Piece] = []
    for piece in step.pieces:
        text = piece.text.replace(THINK_CLOSE, "")
        if text:
            pieces.append(Piece(text, piece.named))
    id_ = tokenizer.named.get(THINK_CLOSE)
    if id_ is not None and id_ in (step.ids or ()):
        ids = tuple(token for token in step.ids or () if token != id_)
    else:
        ids = ()
        for piece in pieces:
            named = tokenizer.named.get(piece.text) if piece.named else None
            ids += tokenizer.encode(piece.text) if named is None else (named,)
    return replace(step, pieces=tuple(pieces), ids=ids)


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """SpecReason."""
    return [SpecReason]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published sampling; the strategy's defaults are the other published values."""
    return [
        Preset(
            name="specreason-paper",
            summary="SpecReason as published: temperature 0.6, top_p 0.95, 8192 kept tokens",
            settings={
                "strategy": "specreason",
                "draft_temperature": 0.6,
                "target_temperature": 0.6,
                "top_p": 0.95,
                "max_gen_toks": 8192,
                "paper_join": True,
            },
        )
    ]


@hookimpl
def atts_published() -> Iterable[PublishedFormat]:
    """Result folders of the published code."""
    from atts_specreason.published import FORMAT

    return [FORMAT]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The paper."""
    return [Path(__file__).with_name("references.yml")]
