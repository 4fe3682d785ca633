"""A vote over any strategy: which samples of a problem are drawn, and what their answers count.

The inner strategy is not changed: it produces a sample and does not know about the vote. The
samples of a problem are drawn in batches; after each the answers so far decide whether the next one
is drawn. Decisions follow from the samples alone, so a resumed run makes the same decisions again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec

from atts_harness import plugins
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.grading.extraction import EXTRACTORS, extract
from atts_harness.strategy import (
    Context,
    Outcome,
    Problem,
    RunInfo,
    Sample,
    Strategy,
    StrategyOptions,
)


class VoteOptions(StrategyOptions, frozen=True, kw_only=True):
    """Options of every vote; a vote also has the options of its inner strategy."""

    inner: Annotated[
        str, msgspec.Meta(description="the strategy that produces each sample; any but a vote")
    ] = "target-only"
    most: Annotated[
        int,
        msgspec.Meta(ge=0, description="most samples of a problem that are drawn; 0: its repeats"),
    ] = 0


@dataclass(frozen=True)
class Ballot:
    """What a drawn sample brings to the vote.

    Attributes:
        answer: as the run's extractor finds it in the text; None if there is none.
        score: the method's own figure of the sample.
    """

    answer: str | None
    score: float = 0.0


Ballots = Mapping[int, Ballot]
"""By repeat, in order; a sample that failed has none."""


class Vote(Strategy):
    """Draws samples of an inner strategy in batches; derive a method from it.

    Class attributes:
        inner_kind: the inner strategy's class, in a class that `made_for` made.
        waits: whether what is drawn, or what it counts, depends on the problem's other samples.
    """

    votes: ClassVar[bool] = True
    inner_kind: ClassVar[type[Strategy]]
    waits: ClassVar[bool] = True
    options: Any

    def __init__(self, options: Any, run: RunInfo) -> None:
        self.options = options
        self.inner = self.inner_kind(options, run)
        self.policy = self.inner.policy
        self.grouped = self.waits or self.inner.grouped
        self.extractor = run.extractor
        if self.waits and self.inner.grouped:
            raise SettingError(
                f"inner={self.inner.name}: with these options its samples wait for each other, and "
                f"{self.name} draws some only when it has seen others; use self-consistency, or "
                "another inner strategy or calibration"
            )
        if self.waits and run.extractor not in EXTRACTORS:
            raise SettingError(
                f"extractor={run.extractor}: {self.name} needs answers before the next sample is "
                f"drawn, and {run.extractor} extracts when samples have ended; use extractor="
                f"boxed+{run.extractor} or one of {', '.join(EXTRACTORS)}"
            )

    @classmethod
    def made_for(cls, settings: Mapping[str, Any]) -> type[Strategy]:
        """This vote over the strategy that `inner` names.

        Raises:
            SettingError: it is not a strategy, or is a vote itself.
        """
        inner = str(settings.get("inner") or VoteOptions().inner)
        strategies = {n: e.value for n, e in plugins.strategies().items() if not e.value.votes}
        if inner in plugins.strategies() and inner not in strategies:
            raise SettingError(
                f"inner={inner}: is a vote itself, and votes are not voted on; give a strategy "
                f"that produces samples: {', '.join(sorted(strategies))}"
            )
        if inner not in strategies:
            raise UnknownSettingError(inner, strategies, source="inner", what="strategy")
        return _over(cls, strategies[inner])

    @property
    def nominal_rate(self) -> float | None:
        """The inner strategy's."""
        return self.inner.nominal_rate

    def check(self, problem: Problem, samples: int) -> None:
        """Refuse answers that cannot be told apart, and fewer samples than the method needs."""
        self.inner.check(problem, samples)
        if problem.kind is None:
            raise SettingError(
                f"task {problem.task}: its answers are open, and {self.name} has to extract and "
                "compare them; use a task of this harness (class atts_tasks.task.AttsTask), whose "
                "extractor and grader say which answers are equal, or a strategy without a vote"
            )
        needed, reason = self.fewest()
        if 0 < self.options.most < needed:
            raise SettingError(
                f"most={self.options.most}: {self.name} needs {needed} samples at least "
                f"({reason}); give most={needed}, or a smaller {reason.partition('=')[0]}"
            )
        if samples < needed:
            raise SettingError(
                f"repeats: task {problem.task} asks for {samples} samples a problem, and "
                f"{self.name} needs {needed} at least ({reason}); give --metadata "
                f"'{{\"repeats\": {needed}}}', or a smaller {reason.partition('=')[0]}"
            )

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Draw the sample once its batch comes, or end it undrawn."""
        ctx.vote(0.0)
        most = self.options.most
        if not self.waits and most and sample.id.repeat >= most:
            return ctx.finish(sample.transcript, "not-drawn")
        if not self.waits:
            outcome = await self.inner.run(sample, ctx)
            ctx.vote(1.0)
            return outcome
        problem = sample.problem
        cast: dict[int, Ballot] = {}
        repeats = list(await ctx.gather("repeats", None))[: most or None]
        for number, batch in enumerate(self.batches(repeats)):
            drawn = sample.id.repeat in batch
            result = await self.draw(sample, ctx, cast) if drawn else None
            ballots = await ctx.gather(f"batch {number}", result[1] if result else None)
            latest = {
                repeat: cast_now for repeat, cast_now in ballots.items() if cast_now is not None
            }
            if result:
                outcome, ballot = result
                ctx.vote(0.0 if ballot is None else self.weight(problem, ballot, cast, latest))
                return outcome
            cast |= latest
            if self.enough(problem, cast, latest):
                break
        return ctx.finish(sample.transcript, "not-drawn")

    async def draw(
        self, sample: Sample, ctx: Context, cast: Ballots
    ) -> tuple[Outcome, Ballot | None]:
        """Produce a sample and its ballot; None as the ballot means that it was given up."""
        outcome = await self.inner.run(sample, ctx)
        return outcome, Ballot(self.answer(sample, outcome))

    def answer(self, sample: Sample, outcome: Outcome) -> str | None:
        """The answer that the run's extractor finds in the text."""
        kind = sample.problem.kind
        return None if kind is None else extract(self.extractor, outcome.transcript.text, kind)

    def fewest(self) -> tuple[int, str]:
        """How many samples a problem must have, and the setting that says so, as `NAME=VALUE`."""
        return 1, ""

    def batches(self, repeats: Sequence[int]) -> Iterable[Sequence[int]]:
        """Repeats that are drawn together, batch by batch; a repeat in no batch is never drawn."""
        return [repeats]

    def enough(self, problem: Problem, cast: Ballots, latest: Ballots) -> bool:
        """Whether the vote is over after a batch.

        Args:
            problem: the question.
            cast: all ballots, those of the batch included.
            latest: those of the batch.
        """
        return False

    def weight(self, problem: Problem, ballot: Ballot, before: Ballots, latest: Ballots) -> float:
        """What a sample's answer counts, once its batch is done.

        Args:
            problem: the question.
            ballot: its ballot.
            before: ballots of earlier batches.
            latest: those of the batch, its own included.
        """
        return 1.0


@functools.cache
def _over(vote: type[Vote], inner: type[Strategy]) -> type[Vote]:
    """Make a class of the vote that also has the inner strategy's options."""
    shared = StrategyOptions.__struct_fields__
    outer = [f for f in msgspec.structs.fields(vote.Options) if f.name not in shared]
    clashes = sorted({f.name for f in outer} & set(inner.Options.__struct_fields__))
    if clashes:
        raise SettingError(
            f"inner={inner.name}: it has an option {clashes[0]} as {vote.name} has; one of the two "
            "packages has to rename its own"
        )

    def checked(options: Any) -> Any:
        return inner.Options.checked(vote.Options.checked(options))

    options = msgspec.defstruct(
        f"{vote.Options.__name__}Over{inner.Options.__name__}",
        [(f.name, f.type, f.default) for f in outer],
        bases=(inner.Options,),
        namespace={"checked": checked},
        module=vote.__module__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return type(
        vote.__name__,
        (vote,),
        {
            "__doc__": vote.__doc__,
            "__module__": vote.__module__,
            "Options": options,
            "inner_kind": inner,
            "roles": inner.roles,
            "scores": inner.scores,
            "top_logprobs": max(vote.top_logprobs, inner.top_logprobs),
        },
    )
