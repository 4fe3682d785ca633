"""Controls that take turns as ATTS does and toss a coin instead of ranking a score.

Draft-only, random takeover and always-takeover are one strategy at rate 0, r and 1. They share
ATTS's turn loop and options. Seeds do not depend on the strategy, so the first draft of every
sample is the same, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import msgspec

from atts_controls.realised import realised_rates
from atts_harness.atts import take_turns
from atts_harness.backend import Role
from atts_harness.errors import SettingError
from atts_harness.records import DecisionRecord, SampleId
from atts_harness.strategy import (
    Context,
    Outcome,
    RunInfo,
    Sample,
    Strategy,
    StrategyOptions,
    TakeoverPolicy,
    Verdict,
)
from atts_harness.turns import TurnOptions

NOMINAL = 0.4


@dataclass(frozen=True)
class Coin:
    """Takes over with a given probability, without a score.

    Attributes:
        rate: share of turns, in [0, 1].
        by_task: rates by task; if it is not empty, a task without a rate is an error.
    """

    rate: float = 0.0
    by_task: Mapping[str, float] = field(default_factory=dict)
    needs_scores = False
    presamples = False

    def decide(self, nonconformity: float, sample: SampleId, turn: int, uniform: float) -> Verdict:
        """Toss."""
        rate = self.by_task[sample.task] if self.by_task else self.rate
        return Verdict(takeover=uniform < rate, threshold=rate)

    def offer(self, task: str, doc: int, nonconformities: Mapping[int, float]) -> None:
        """A coin learns nothing."""

    def fold(self, record: DecisionRecord) -> None:
        """A coin has no state."""


class DraftOnlyOptions(TurnOptions, frozen=True, kw_only=True):
    """Options of turns without a target; only the budget limits their number."""

    turns: Annotated[
        int, msgspec.Meta(ge=0, description="most turns of a sample; 0: as the budget allows")
    ] = 0
    on_empty: Annotated[
        Literal["end"], msgspec.Meta(description="a draft that closes its turn at once ends")
    ] = "end"


class RandomTakeoverOptions(TurnOptions, frozen=True, kw_only=True):
    """Options of ATTS's turns, and the probability of a takeover."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("rate", "rate_of"),)

    rate: Annotated[
        float | None,
        msgspec.Meta(
            description="share of turns with a draft that the target takes over (0.4); empty "
            "drafts, which it takes over as well, are not counted"
        ),
    ] = None
    rate_of: Annotated[
        str | None,
        msgspec.Meta(
            description="in place of `rate`: a run directory or lm-eval results file; of each task "
            "the share of turns that was really taken over is used, failed scores included"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse two rates, and a rate outside of [0, 1]."""
        if self.rate is not None and self.rate_of is not None:
            raise SettingError("rate_of: takes the place of `rate`; give one of them")
        if self.rate is not None and not 0.0 <= self.rate <= 1.0:
            raise SettingError(f"rate={self.rate}: must lie in [0, 1]")

    @property
    def nominal(self) -> float | None:
        """The rate; None if it differs by task."""
        if self.rate_of is not None:
            return None
        return NOMINAL if self.rate is None else self.rate


class DraftOnly(Strategy):
    """The draft alone, in ATTS's turns, until it ends or the budget is spent."""

    name: ClassVar[str] = "draft-only"
    Options: ClassVar[type[StrategyOptions]] = DraftOnlyOptions
    roles: ClassVar[tuple[Role, ...]] = ("draft",)

    options: DraftOnlyOptions
    policy: TakeoverPolicy

    def __init__(self, options: DraftOnlyOptions, run: RunInfo) -> None:
        self.options = options
        self.policy = Coin(0.0)

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        # A turn writes a token at least, or ends the sample.
        turns = self.options.turns or sample.problem.max_tokens
        options = msgspec.structs.replace(self.options, turns=turns)
        return await take_turns(sample, ctx, options, self.policy)


class AlwaysTakeover(Strategy):
    """The target takes over every turn: ATTS at rate 1, without its scores."""

    name: ClassVar[str] = "always-takeover"
    Options: ClassVar[type[StrategyOptions]] = TurnOptions

    options: TurnOptions
    policy: TakeoverPolicy

    def __init__(self, options: TurnOptions, run: RunInfo) -> None:
        self.options = options
        self.policy = Coin(1.0)

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        return await take_turns(sample, ctx, self.options, self.policy)


class RandomTakeover(Strategy):
    """The target takes over as often as in ATTS, at random turns."""

    name: ClassVar[str] = "random-takeover"
    Options: ClassVar[type[StrategyOptions]] = RandomTakeoverOptions

    options: RandomTakeoverOptions
    policy: TakeoverPolicy

    def __init__(self, options: RandomTakeoverOptions, run: RunInfo) -> None:
        self.options = options
        self.policy = Coin(options.nominal or 0.0)
        if options.rate_of is not None:
            task = run.provenance.get("task")
            rates = _rates_of(options.rate_of, task)
            self.policy = Coin(by_task=rates)
            if task is not None:
                # From here on it is a rate like any other: reports show it as the nominal one.
                self.options = msgspec.structs.replace(options, rate=rates[task], rate_of=None)

    @property
    def nominal_rate(self) -> float | None:
        """The coin's rate; None if it differs by task."""
        return self.options.nominal

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        return await take_turns(sample, ctx, self.options, self.policy)


def _rates_of(path: str, task: str | None) -> dict[str, float]:
    """The rate of each task of a run; `task` must be among them."""
    rates = realised_rates(path)
    if task is not None and task not in rates:
        raise SettingError(
            f"rate_of={path}: has no takeover decisions of task {task}, only of "
            f"{', '.join(sorted(rates))}; give a run of this task, or `rate`"
        )
    return rates
