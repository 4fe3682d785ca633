"""ATTS: asynchronous test-time scaling via conformal prediction (arXiv 2509.15148).

For each sample by itself, turn by turn:

    1. the draft writes up to `draft_tokens`;
    2. the target scores them: s = mean negative log-probability;
    3. a conformal p-value of s decides: p <= rate, and the target takes the turn over,
       writing up to `target_tokens` behind the draft's text (or in its place);
    4. an answer, a closed turn or a spent budget ends the sample.

No step waits for another sample, so there is no barrier anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from atts_harness.backend import Role
from atts_harness.conformal import CalibrationOptions, make_policy
from atts_harness.drafts import Drafts, further_tokens
from atts_harness.errors import SettingError
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.records import Finish
from atts_harness.signals import PERPLEXITY, SIGNALS, SignalName
from atts_harness.strategy import (
    Context,
    Generation,
    Outcome,
    RunInfo,
    Sample,
    Score,
    Strategy,
    StrategyOptions,
    TakeoverPolicy,
)
from atts_harness.transcript import Segment, Transcript, inserted
from atts_harness.turns import TurnOptions


class ATTSOptions(CalibrationOptions, frozen=True, kw_only=True):
    """Options of ATTS: its turns (`TurnOptions`) and its calibration."""

    signal: Annotated[
        SignalName,
        msgspec.Meta(
            description="how much a draft needs the target: its perplexity under the target, as "
            "published, or a figure of the draft's own, which costs no call"
        ),
    ] = PERPLEXITY
    draft_ahead: Annotated[
        bool,
        msgspec.Meta(
            description="write the next draft while the target scores the last one; thrown away "
            "if the target takes over"
        ),
    ] = False

    def provenance(self) -> dict[str, Any]:
        """What all turns depend on, and the signal if it is not the published one."""
        signal = {} if self.signal == PERPLEXITY else {"signal": self.signal}
        return super().provenance() | signal


class ATTS(Strategy):
    """A conformal p-value of each draft's likelihood decides whether the target takes over."""

    name: ClassVar[str] = "atts"
    Options: ClassVar[type[StrategyOptions]] = ATTSOptions
    roles: ClassVar[tuple[Role, ...]] = ("draft", "target")
    scores: ClassVar[bool] = True
    options: ATTSOptions
    policy: TakeoverPolicy

    def __init__(self, options: ATTSOptions, run: RunInfo) -> None:
        if options.draft_ahead and run.one_at_a_time:
            raise SettingError(
                "draft_ahead=true: draft and target share one engine that takes one call at a "
                "time, so nothing can be written ahead; raise engine_concurrency, or leave it out"
            )
        self.options = options
        self.policy = make_policy(options, run)
        self.grouped = self.policy.presamples

    @classmethod
    def made_for(cls, settings: Mapping[str, Any]) -> type[Strategy]:
        """The class, or its variant without target scores for a signal that the draft gives."""
        signal = SIGNALS.get(settings.get("signal", PERPLEXITY))
        return cls if signal is None else _without_scores(cls, signal.top_logprobs)

    @property
    def nominal_rate(self) -> float:
        """The nominal rate: the share of scored turns to take over."""
        return self.options.nominal

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        options = self.options
        async with Drafts(ctx, options, options.draft_ahead, self.top_logprobs) as drafts:
            return await take_turns(sample, ctx, options, self.policy, drafts, options.signal)


@functools.cache
def _without_scores(strategy: type[Strategy], top_logprobs: int) -> type[Strategy]:
    """ATTS with a signal that the draft itself gives, so that the target scores nothing."""
    abilities = {"scores": False, "top_logprobs": top_logprobs, "__doc__": strategy.__doc__}
    return type(strategy.__name__, (strategy,), abilities)


async def take_turns(
    sample: Sample,
    ctx: Context,
    options: TurnOptions,
    policy: TakeoverPolicy,
    drafts: Drafts | None = None,
    signal: SignalName = PERPLEXITY,
) -> Outcome:
    """Run the turn loop with any takeover policy.

    Args:
        sample: the sample.
        ctx: what the loop may do.
        options: how turns are cut.
        policy: who decides on takeovers.
        drafts: who writes the drafts; default: each when its turn comes.
        signal: the measure of how bad a draft is.
    """
    drafts = drafts or Drafts(ctx, options)
    transcript = sample.transcript
    extra = 0
    for turn in range(options.turns):
        tokens_before = transcript.tokens
        if turn and options.paper_join:
            transcript += inserted("\n\n", turn=turn)
        reply = await drafts.write(transcript, turn, extra)
        draft = reply.segment
        if draft:
            drafts.begin_next(transcript + draft, turn + 1)
            score = await score_draft(transcript, reply, ctx, options, policy, turn, signal)
            if turn == 0 and policy.presamples:
                await _presample(sample, ctx, policy, score)
            takeover = ctx.decide(policy, score, turn).takeover
        elif options.on_empty == "takeover":
            takeover = ctx.take_over(turn, "empty-draft").takeover
        elif reason := nothing_left(transcript, draft, ctx, options):
            return ctx.finish(transcript, reason)
        else:
            takeover = False

        if takeover:
            await drafts.throw_away()
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
        extra = further_tokens(options, tokens_before, transcript)
    return ctx.finish(transcript, "turns")


def nothing_left(
    transcript: Transcript, draft: Segment, ctx: Context, options: TurnOptions
) -> Finish | None:
    """The reason why an empty draft ends a sample; None if the next turn may continue.

    A draft can be empty without closing its turn if all that was written is the beginning of a
    character: it is held back until the rest of the character is there.
    """
    if draft.ending == "eos":
        return "eos"
    room = ctx.room(transcript)
    return "budget" if room <= options.draft_tokens else None  # it does not hold the character


async def score_draft(
    transcript: Transcript,
    reply: Generation,
    ctx: Context,
    options: TurnOptions,
    policy: TakeoverPolicy,
    turn: int,
    signal: SignalName = PERPLEXITY,
) -> Score | None:
    """The score of a draft by the signal; None for a policy that needs none."""
    if not policy.needs_scores:
        return None
    if signal == PERPLEXITY:
        raw = options.score_template == "raw"
        return await ctx.target.score(transcript, reply.segment, turn=turn, raw=raw)
    signal_of_reply = SIGNALS[signal].value
    return Score(
        None,
        value=ctx.uniform("signal", turn) if signal_of_reply is None else signal_of_reply(reply),
    )


async def _presample(
    sample: Sample, ctx: Context, policy: TakeoverPolicy, score: Score | None
) -> None:
    """The problem's first drafts are its calibration set; wait for the siblings' scores."""
    nonconformity = None if score is None else score.nonconformity
    siblings = await ctx.gather("presample", nonconformity)
    scores = {repeat: s for repeat, s in siblings.items() if s is not None}
    policy.offer(sample.id.task, sample.id.doc, scores)


async def write_takeover(
    transcript: Transcript, ctx: Context, options: TurnOptions, turn: int, room: int
) -> Segment:
    """The target's chunk of a turn, of at most `room` tokens; possibly empty."""
    reply = await ctx.target.generate(
        transcript, kind="takeover", turn=turn, max_tokens=room, stop=options.stops
    )
    return reply.segment


PAPER = Preset(
    name="paper",
    summary="ATTS as published: first-turn bank, percentile rule, blank lines between chunks",
    settings={
        "turns": 15,
        "draft_tokens": 500,
        "target_tokens": 500,
        "draft_temperature": 0.8,
        "target_temperature": 0.8,
        "coverage": "marginal",
        "rule": "reference",
        "rate": 0.4,
        "on_reject": "continue",
        "on_empty": "end",
        "paper_join": True,
        "max_gen_toks": 15000,
        "draft_concurrency": 16,
        "score_concurrency": 4,
        "takeover_concurrency": 4,
    },
)


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """ATTS itself."""
    return [ATTS]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published settings."""
    return [PAPER]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The paper."""
    return [Path(__file__).with_name("atts.yml")]
