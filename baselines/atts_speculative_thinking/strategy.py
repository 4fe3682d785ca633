"""Speculative thinking (arXiv 2504.12329).

The draft writes freely to the end of a paragraph (a trigger). There, the first of these is done:

    A. at the very beginning, once, if `begin`: the target writes `begin_token_num` tokens;
    B. after many negations: a cue is inserted and the target recapitulates, longer each time;
    C. else the draft probes 20 tokens. Neutral ones are thrown away, and that is all. If they
       affirm or reflect, the target probes the same place and its tokens stay; if these announce
       a verification, the target goes on for another 125.

The models may have different vocabularies: they share the text, and each reads it in its own ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from atts_harness.backend import Role
from atts_harness.records import Finish
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
from atts_harness.transcript import Segment, Transcript, inserted
from atts_speculative_thinking.options import FileOptions, SpeculativeThinkingOptions, resolve
from atts_speculative_thinking.rules import Rules, sentiment, verifies


class SpeculativeThinking(Strategy):
    """Words of doubt or agreement in the draft's text call the target."""

    name: ClassVar[str] = "speculative-thinking"
    Options: ClassVar[type[StrategyOptions]] = SpeculativeThinkingOptions

    options: FileOptions

    def __init__(self, options: FileOptions, run: RunInfo) -> None:
        self.options = options
        self.rules = resolve(options)
        self._prints = {tokenizer.fingerprint for tokenizer in run.tokenizers.values()}

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        if len(self._prints) > 1:
            ctx.note("vocabularies", "draft and target differ; text is what they share")
        thought = Thought(self.rules, ctx, sample.transcript)
        ctx.note("branches", thought.branches)
        while not (reason := await thought.go_on()):
            thought.turn += 1
        return ctx.finish(thought.transcript, reason)


@dataclass
class Thought:
    """One sample on its way.

    Attributes:
        rules: as resolved.
        ctx: the sample's.
        transcript: what is kept.
        turn: rounds of the loop; a round has one free run and at most one look.
        begin: whether the target is still to write the beginning.
        negations: kept probes that reflected, since the last recapitulation.
        recap_after: how many of them bring on the next one.
        recap_tokens: how long it will be.
        since_end: tokens kept since a model last closed its turn; None: none did.
        branches: how often each branch was taken.
    """

    rules: Rules
    ctx: Context
    transcript: Transcript
    turn: int = 0
    begin: bool = field(init=False)
    negations: int = 0
    recap_after: int = field(init=False)
    recap_tokens: int = field(init=False)
    since_end: int | None = None
    branches: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with the published counts."""
        self.begin = self.rules.begin
        self.recap_after = self.rules.recap_after_negative_num
        self.recap_tokens = self.rules.original_recap_token_num

    async def go_on(self) -> Finish | None:
        """Run one round; return why the sample is over, or None."""
        if not self.begin:
            run = await self._write("draft", "draft", self.rules.free_tokens)
            self._keep(run)
            if reason := self.ctx.ended(self.transcript):
                return reason
            if run.ending == "eos":
                return "eos"
            if not run:
                return "budget"  # the room left does not hold the next character
            if run.ending != "stop":
                return None
        tokens = await self._branch()
        if tokens and (room := self.ctx.room(self.transcript, tokens)):
            self._keep(await self._write("target", "takeover", room))
        if reason := self.ctx.ended(self.transcript):
            return reason
        ended_lately = self.since_end is not None and self.since_end < self.rules.max_target_tokens
        return "eos" if ended_lately else None

    async def _branch(self) -> int:
        """Take the branch that applies; return how many tokens the target writes next."""
        rules = self.rules
        if self.begin:
            self.begin = False
            self._count("begin")
            self._decide(takeover=True)
            return rules.begin_token_num
        if self.negations >= self.recap_after:
            self._count("recapitulation")
            self._decide(takeover=True)
            return self._recapitulate()
        return await self._look()

    def _recapitulate(self) -> int:
        rules, tokens = self.rules, self.recap_tokens
        self.transcript += inserted(rules.help_recap_words, turn=self.turn, kind="cue")
        self.negations = 0
        self.recap_tokens = min(tokens + rules.add_each_recap, rules.max_recap_token_num)
        self.recap_after = min(self.recap_after + rules.add_each_neg, rules.max_negative_num)
        return tokens

    async def _look(self) -> int:
        rules, words = self.rules, self.rules.TARGET_VALIDATION_KEYWORDS
        if rules.help_think_word:
            self.transcript += inserted(rules.help_think_word, turn=self.turn, kind="cue")
        draft = await self._write("draft", "probe", rules.max_target_tokens)
        sign = sentiment(draft.text, words)
        if sign == 0 and not rules.not_reasoning:
            self._count("neutral")
            self._decide(takeover=False)
            if rules.discard_neutral_probe:
                self.ctx.discard(draft)
            else:
                self._keep(draft)
            return 0

        other = await self._write("target", "probe", rules.max_target_tokens)
        target_sign = sentiment(other.text, words)
        disagree = (sign < 0 <= target_sign) or (target_sign < 0 < sign)
        from_target = rules.choose_large or disagree
        kept, dropped = (other, draft) if from_target else (draft, other)
        self._count({1: "affirmation", -1: "reflection", 0: "asked though neutral"}[sign])
        self._decide(takeover=from_target)
        self.ctx.discard(dropped)
        self._keep(kept)
        if sentiment(kept.text, words) < 0:
            self.negations += 1
        if not verifies(kept.text, words):
            return 0
        self._count("verification")
        return rules.original_recap_token_num

    async def _write(self, role: Role, kind: str, most: int) -> Segment:
        author = self.ctx.draft if role == "draft" else self.ctx.target
        reply = await author.generate(
            self.transcript,
            kind=kind,
            turn=self.turn,
            max_tokens=self.ctx.room(self.transcript, most),
            stop=self.rules.TRIGGER_TOKENS if kind == "draft" else (),
        )
        return reply.segment

    def _keep(self, segment: Segment) -> None:
        self.transcript += segment
        if segment.ending == "eos":
            self.since_end = 0
        elif self.since_end is not None:
            self.since_end += len(segment)

    def _decide(self, *, takeover: bool) -> None:
        self.ctx.decide(Settled(Verdict(takeover=takeover)), None, self.turn)

    def _count(self, branch: str) -> None:
        self.branches[branch] = self.branches.get(branch, 0) + 1
