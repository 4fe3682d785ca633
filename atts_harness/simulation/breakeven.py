"""When do draft, score and takeover beat the target alone? A closed form for mean turns.

A turn of ATTS costs a draft of D tokens, a score of them and, in a share r of turns, a takeover of
W tokens. It leaves a D + r W tokens in the answer: a = 1 where the target writes behind a rejected
draft, a = 1 - r where it writes in its place. The target alone takes t seconds a token, the draft
t / rho, and a score as long as sigma D tokens of the target's. With w = W / D, and an answer that
is L times as long as the target's own,

    seconds of ATTS / seconds of the target alone = L (1 / rho + sigma + r w) / (a + r w).

ATTS pays where that is below 1. At equal length it is so where 1 / rho + sigma < a: more of the
drafted tokens has to stay than what drafting and scoring them costs. Behind a rejected draft a is
1, and the rate decides how much is gained or lost, not whether; in its place it pays up to
r = 1 - 1 / rho - sigma.

`prices` works rho and sigma out from cost models: in seconds of one sample where queues are empty,
or in GPU seconds of engines that always have a batch to work on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from atts_harness.backend import Role
from atts_harness.settings import ROLES
from atts_harness.simulation.costs import CostModel, Step
from atts_harness.simulation.jobs import EngineLimits

__all__ = ["Course", "Prices", "break_even_rate", "break_even_speed", "prices", "relative_cost"]

BLOCK = EngineLimits.block
"""Tokens of a block of the prefix cache."""


@dataclass(frozen=True)
class Course:
    """What the turns of a sample are like in the mean.

    Attributes:
        turns: of a sample.
        rate: share of them that the target takes over, in [0, 1].
        draft: tokens of a draft.
        takeover: tokens of a takeover.
        prompt: tokens of the question.
        replaces: whether a takeover stands in the draft's place, and not behind it.
        scored: whether the target scores each draft; a signal of the draft's own needs no score.
        cached: whether a score computes its draft only, and not all that stands before it.
        ahead: whether the next draft is written while the last one is scored.
        longer: L, tokens of the answer, divided by those of the target's own.
        deviation: standard deviation of the number of turns over samples. Most turns are those of
            long samples, so the more samples differ, the more text stands before a turn.
    """

    turns: float
    rate: float
    draft: float = 500.0
    takeover: float = 500.0
    prompt: float = 200.0
    replaces: bool = False
    scored: bool = True
    cached: bool = True
    ahead: bool = False
    longer: float = 1.0
    deviation: float = 0.0

    @property
    def acceptance(self) -> float:
        """a, the share of drafted tokens that stay."""
        return 1.0 - self.rate if self.replaces else 1.0

    @property
    def turn_length(self) -> float:
        """Tokens that a turn leaves in the answer."""
        return self.acceptance * self.draft + self.rate * self.takeover

    @property
    def written(self) -> float:
        """Tokens of the answer."""
        return self.turns * self.turn_length

    @property
    def spread(self) -> float:
        """Tokens that stand before a turn because samples differ in their number of turns n.

        The mean over all turns of the turns before them is (E[n^2] / E[n] - 1) / 2.
        """
        return self.deviation**2 / self.turns / 2 * self.turn_length

    @property
    def context(self) -> float:
        """Tokens before a draft, over all turns of all samples."""
        return self.prompt + (self.turns - 1) / 2 * self.turn_length + self.spread


@dataclass(frozen=True)
class Prices:
    """What the parts of a mean turn cost, and what the target alone costs a token.

    Attributes:
        course: the sample that the turns belong to.
        draft: cost of a draft.
        score: cost of a score; 0 without scores.
        hidden: the part of `score` that passes while the next draft is written.
        takeover: cost of one takeover.
        token: cost of a token that the target writes alone.
    """

    course: Course
    draft: float
    score: float
    hidden: float
    takeover: float
    token: float

    @property
    def speed(self) -> float:
        """rho: the target's cost of a token, divided by the draft's."""
        return self.course.draft * self.token / self.draft

    @property
    def sigma(self) -> float:
        """Cost of a score, divided by that of as many tokens written by the target."""
        return (self.score - self.hidden) / (self.course.draft * self.token)

    @property
    def sample(self) -> float:
        """Cost of a whole sample."""
        turn = self.draft + self.score - self.hidden + self.course.rate * self.takeover
        return self.course.turns * turn

    @property
    def alone(self) -> float:
        """Cost of the target's own answer, which is 1 / L as long."""
        return self.course.written / self.course.longer * self.token

    @property
    def relative(self) -> float:
        """Cost of the sample, divided by that of the target's own answer; below 1 ATTS pays."""
        return self.sample / self.alone


def relative_cost(
    speed: float,
    score: float,
    rate: float,
    *,
    takeover: float = 1.0,
    acceptance: float = 1.0,
    longer: float = 1.0,
) -> float:
    """Cost of ATTS, divided by that of the target alone; below 1 ATTS pays.

    Args:
        speed: rho, the target's cost of a token, divided by the draft's.
        score: sigma, cost of a score, divided by that of as many tokens written by the target.
        rate: r, share of turns that are taken over, in [0, 1].
        takeover: w, tokens of a takeover, divided by those of a draft.
        acceptance: a, the share of drafted tokens that stay.
        longer: L.
    """
    length = acceptance + rate * takeover  # of a turn, by that of a draft
    return longer * (1 / speed + score + rate * takeover) / length if length > 0 else math.inf


def break_even_speed(
    score: float,
    rate: float,
    *,
    takeover: float = 1.0,
    acceptance: float = 1.0,
    longer: float = 1.0,
) -> float:
    """The least rho from which ATTS pays; infinity where not even a draft for nothing would do.

    Args:
        score: sigma.
        rate: r.
        takeover: w.
        acceptance: a.
        longer: L.
    """
    budget = (acceptance + rate * takeover) / longer - score - rate * takeover
    return 1 / budget if budget > 0 else math.inf


def break_even_rate(
    speed: float,
    score: float,
    *,
    takeover: float = 1.0,
    replaces: bool = False,
    longer: float = 1.0,
) -> float:
    """The largest rate at which ATTS pays, in [0, 1]; 0 where it does at none.

    Args:
        speed: rho.
        score: sigma.
        takeover: w.
        longer: L.
        replaces: whether a takeover stands in the draft's place.
    """
    gain = 1 - longer * (1 / speed + score)
    # What each takeover costs of the gain: its draft, where that is dropped, and its length.
    slope = (1.0 if replaces else 0.0) + takeover * (longer - 1)
    if slope <= 0:
        return 1.0 if gain > slope else 0.0
    return min(1.0, max(0.0, gain / slope))


def prices(
    course: Course,
    costs: Mapping[Role, CostModel],
    *,
    batch: float | Mapping[Role, float] = 1.0,
    devices: Mapping[Role, int] | None = None,
) -> Prices:
    """What the parts of a mean turn cost.

    Args:
        course: the turns.
        costs: seconds of a step, by role.
        batch: sequences that an engine always has in a step; of both, or by role.
        devices: GPUs by role. With them prices are GPU seconds of work: a sequence pays its share
            of a step, and a prompt what it adds to one. Without, they are seconds of a sample that
            nobody keeps waiting.
    """
    full = batch if isinstance(batch, Mapping) else dict.fromkeys(ROLES, batch)
    draft, target = (_Meter(costs[role], full[role], (devices or {}).get(role)) for role in ROLES)
    draft_tokens, rate, tail = course.draft, course.rate, (BLOCK + 1) / 2
    first, later = 1 / course.turns, 1 - 1 / course.turns
    # The draft model knows its own drafts; what the target wrote it has to read. A rejected draft
    # that was replaced is left out of what it knows.
    read = draft.prompt(course.takeover + tail, course.context)
    seconds = (
        first * draft.prompt(course.prompt, 0)
        + later * (rate * read + (1 - rate) * draft.prompt(tail, course.context))
        + draft.writing(draft_tokens - 1, course.context)
    )
    score = 0.0
    context = course.context + draft_tokens  # where a takeover begins
    if course.scored:
        before = tail if course.cached else course.context
        score = later * target.prompt(draft_tokens + before, course.context - before, scored=True)
        score += first * target.prompt(draft_tokens + course.prompt, 0, scored=True)
        unread = tail
    else:  # all drafts since its last takeover
        unread = min(context, course.acceptance * draft_tokens / rate if rate else 0.0)
    if course.replaces:
        context -= draft_tokens
    takeover = target.prompt(unread + tail, context - unread)
    takeover += target.writing(course.takeover - 1, context)
    hidden = 0.0
    if course.ahead and course.scored:
        hidden = later * (1 - rate) * min(score, seconds)
    whole = course.written / course.longer
    alone = target.prompt(course.prompt, 0)
    alone += target.writing(whole - 1, course.prompt + course.spread / course.longer)
    return Prices(course, seconds, score, hidden, takeover, alone / whole)


@dataclass(frozen=True)
class _Meter:
    """Prices of one engine: seconds of a sample, or with `devices` GPU seconds of work."""

    cost: CostModel
    batch: float
    devices: int | None

    def writing(self, tokens: float, context: float) -> float:
        """Of tokens behind a context, at their mean length."""
        step = self._decoding(self.batch, context + tokens / 2)
        seconds = tokens * self.cost.seconds(step).total
        return seconds if self.devices is None else seconds * self.devices / self.batch

    def prompt(self, tokens: float, cached: float, scored: bool = False) -> float:
        """Of reading tokens behind a cached context, and the first token that follows."""
        if self.devices is None:
            return self.cost.seconds(self._reading(tokens, cached, scored, self.batch - 1)).total
        others = self._decoding(self.batch, cached)
        with_it = self.cost.seconds(self._reading(tokens, cached, scored, self.batch)).total
        return (with_it - self.cost.seconds(others).total) * self.devices

    def _decoding(self, sequences: float, context: float) -> Step:
        read = sequences * context
        return Step(decodes=sequences, context=read, pairs=read, rows=sequences)

    def _reading(self, tokens: float, cached: float, scored: bool, others: float) -> Step:
        beside = self._decoding(others, cached)
        return Step(
            decodes=others,
            prefills=1,
            prompt_tokens=tokens,
            context=beside.context + cached + tokens,
            pairs=beside.pairs + tokens * cached + tokens * (tokens + 1) / 2,
            rows=others + (tokens if scored else 1),
        )
