"""What simulated models write and how their texts score: drawn from a trace.

A repeat that the trace recorded is replayed turn by turn. Further repeats of a question draw one
of its recorded samples. Where a decision differs from the recorded one, the trace says nothing of
what would have followed; then the lengths of a takeover are drawn from the question's recorded
takeovers, and the sample goes on with its recorded turns. A second draft of a turn (`attempt=1`) is
what some sample of the question wrote in this turn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from atts_harness.backend import GenerateRequest, ScoreRequest
from atts_harness.records import CallKey
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from atts_harness.simulation.words import WordTokenizer
from atts_harness.tokenizer import Ids
from atts_harness.transcript import Ending

__all__ = ["Behaviour", "TraceBehaviour", "WrittenText"]

BLANK = "\n\n"
CLOSING = 4
"""Tokens of a boxed answer and the end of the turn."""


@dataclass(frozen=True)
class WrittenText:
    """What a simulated model writes: ids, why it ends, and the stop string that ended it."""

    ids: Ids
    ending: Ending
    stop: str | None = None


class Behaviour(Protocol):
    """What simulated models do. A call says which sample, kind and turn it is for."""

    def write(self, call: CallKey, request: GenerateRequest) -> WrittenText:
        """What is generated, at most `request.max_tokens` ids."""
        ...

    def score(self, call: CallKey, request: ScoreRequest) -> tuple[float, ...]:
        """A log-probability for each id from `request.start` on."""
        ...


@dataclass(frozen=True)
class TraceBehaviour:
    """Behaviour drawn from a trace.

    Attributes:
        trace: what was recorded.
        tokenizer: of the simulated models.
        seed: of every draw; two runs with the same seed write the same texts.
    """

    trace: RunTrace
    tokenizer: WordTokenizer
    seed: int = 0

    @cached_property
    def _docs(self) -> Sequence[int]:
        return list(self.trace.samples)

    @cached_property
    def _takeovers(self) -> dict[int, list[TurnTrace]]:
        """Turns that were taken over, by question."""
        return {
            doc: [turn for sample in samples for turn in sample.turns if turn.takeover is not None]
            for doc, samples in self.trace.samples.items()
        }

    def sample_of(self, doc: int, repeat: int) -> SampleTrace:
        """The recorded sample that a simulated one follows."""
        samples = self.trace.samples[self._docs[doc % len(self._docs)]]
        if doc < len(self._docs) and repeat < len(samples):
            return samples[repeat]
        return samples[self._rng("sample", doc, repeat).randrange(len(samples))]

    def write(self, call: CallKey, request: GenerateRequest) -> WrittenText:
        """The text of a turn, or of the whole sample if the call has room for more than a turn."""
        kind = "draft" if call.kind == "ahead" else call.kind
        rng = self._rng(kind, call.sample.doc, call.sample.repeat, call.turn, call.attempt)
        if request.max_tokens > self.trace.chunk:
            tokens, ends = self.sample_of(call.sample.doc, call.sample.repeat).tokens, True
        elif kind == "draft":
            turn = self._turn(call)
            tokens, ends = turn.draft, turn.draft_ends
        else:
            tokens, ends = self._takeover(call, rng)
        return self._text(tokens, ends, request, rng)

    def score(self, call: CallKey, request: ScoreRequest) -> tuple[float, ...]:
        """The recorded nonconformity, spread evenly over the tokens."""
        score = self._turn(call).score
        if score is None:
            scored = [turn.score for turn in self.trace.turns() if turn.score is not None]
            score = self._rng("score", *_place(call)).choice(scored)
        return (-score,) * (len(request.ids) - request.start)

    def _turn(self, call: CallKey) -> TurnTrace:
        """The recorded turn; behind the last one, one that a sibling had at this place.

        A further attempt at a turn is another text, so it is one of a sibling, too.
        """
        sample = self.sample_of(call.sample.doc, call.sample.repeat)
        if call.turn < len(sample.turns) and not call.attempt:
            return sample.turns[call.turn]
        siblings = self.trace.samples[sample.doc]
        turns = [other.turns[call.turn] for other in siblings if call.turn < len(other.turns)]
        rng = self._rng("turn", *_place(call))
        return rng.choice(turns or [other.turns[-1] for other in siblings])

    def _takeover(self, call: CallKey, rng: random.Random) -> tuple[int, bool]:
        turn = self._turn(call)
        if turn.takeover is not None:
            return turn.takeover, turn.takeover_ends
        doc = self.sample_of(call.sample.doc, call.sample.repeat).doc
        pool = self._takeovers[doc] or [t for turns in self._takeovers.values() for t in turns]
        if not pool:
            return self.trace.chunk, False
        drawn = rng.choice(pool)
        # A sample that its draft has ended needs nothing more.
        return drawn.takeover or 0, drawn.takeover_ends and not turn.draft_ends

    def _text(
        self, tokens: int, ends: bool, request: GenerateRequest, rng: random.Random
    ) -> WrittenText:
        most = request.max_tokens
        if tokens == 0:
            return WrittenText((min(self.tokenizer.eos_ids),), "eos")
        if tokens > most or (tokens == most and not ends):
            return WrittenText(self.tokenizer.filler(most, rng), "length")
        if ends:
            closing = self.tokenizer.answer()[-min(CLOSING, tokens) :]
            return WrittenText(
                (*self.tokenizer.filler(tokens - len(closing), rng), *closing), "eos"
            )
        if BLANK in request.stop:
            ids = (*self.tokenizer.filler(tokens - 1, rng), *self.tokenizer.encode(BLANK))
            return WrittenText(ids, "stop", BLANK)
        return WrittenText(self.tokenizer.filler(tokens, rng), "length")

    def _rng(self, *parts: object) -> random.Random:
        return random.Random(f"{self.seed}/{'/'.join(map(str, parts))}")


def _place(call: CallKey) -> tuple[int, ...]:
    """Which turn of which sample a call is for, and which attempt if it is not the first."""
    place = (call.sample.doc, call.sample.repeat, call.turn)
    return (*place, call.attempt) if call.attempt else place
