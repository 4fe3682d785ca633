"""DeepConf (arXiv 2508.15260): confident traces vote, and traces that lose confidence are given up.

Online: some traces are drawn first; a bar is set so that about `keep` percent of them reach it; the
others are stopped once a full group of tokens falls below. Offline: all are drawn, and those whose
score reaches the bar of all vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from atts_harness.errors import SettingError
from atts_harness.strategy import Context, Outcome, Problem, Sample, StrategyOptions
from atts_votes.confidence import CANDIDATES, ConfidenceWatch, Stopped, score
from atts_votes.vote import Ballot, Ballots, Vote, VoteOptions


def _is(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


class DeepConfOptions(VoteOptions, frozen=True, kw_only=True):
    """Options: how confident a trace has to be; defaults are the published online ones."""

    mode: Annotated[
        Literal["online", "offline"], _is("stop traces below the bar, or draw all and filter them")
    ] = "online"
    warmup: Annotated[int, _is("online: traces that are drawn first and set the bar", ge=1)] = 16
    keep: Annotated[
        float, _is("the bar is the (100 - keep)-th percentile of scores: about so many percent "
                   "reach it", gt=0, le=100)
    ] = 90.0  # fmt: skip
    group_tokens: Annotated[int, _is("tokens of a group", ge=1)] = 2048
    trace_score: Annotated[
        Literal["lowest", "bottom", "tail", "mean"],
        _is("a trace's score: its lowest group, the mean of its lowest tenth, its last "
            "group_tokens tokens, or all of it; online the lowest"),
    ] = "lowest"  # fmt: skip
    voting: Annotated[
        Literal["weighted", "majority"], _is("a vote counts its trace's score, or one")
    ] = "weighted"

    def checked(self) -> Self:
        """Refuse another `trace_score` online, where the lowest group stops a trace."""
        if self.mode == "online" and self.trace_score != "lowest":
            raise SettingError(
                f"trace_score={self.trace_score}: a trace is stopped by its lowest group; leave "
                "trace_score out, or use mode=offline"
            )
        return self


class DeepConf(Vote):
    """Votes of traces by their confidence; online, traces that lose it are stopped."""

    name: ClassVar[str] = "deepconf"
    Options: ClassVar[type[StrategyOptions]] = DeepConfOptions
    top_logprobs: ClassVar[int] = CANDIDATES

    def fewest(self) -> tuple[int, str]:
        """Online, the warm-up and one trace more."""
        if self.options.mode == "offline":
            return 1, ""
        return self.options.warmup + 1, f"warmup={self.options.warmup}"

    def batches(self, repeats: Sequence[int]) -> Iterable[Sequence[int]]:
        """Online, the warm-up and all others; offline, all."""
        first = len(repeats) if self.options.mode == "offline" else self.options.warmup
        return [batch for batch in (repeats[:first], repeats[first:]) if batch]

    async def draw(
        self, sample: Sample, ctx: Context, cast: Ballots
    ) -> tuple[Outcome, Ballot | None]:
        """A trace, which is given up once a full group is below the bar of the warm-up."""
        size = self.options.group_tokens
        watch = ConfidenceWatch(ctx, size, self.bar(cast))
        try:
            outcome = await self.inner.run(sample, watch)
        except Stopped as stopped:
            return ctx.finish(stopped.transcript, "stopped"), None
        confidence = score(watch.of(outcome.transcript), size, self.options.trace_score)
        ctx.note("confidence", confidence)
        return outcome, Ballot(self.answer(sample, outcome), confidence)

    def bar(self, cast: Ballots) -> float | None:
        """The score that a trace needs, or None. Offline only traces with an answer set it."""
        offline = self.options.mode == "offline"
        scores = [b.score for b in cast.values() if b.answer is not None or not offline]
        if not scores:
            return None
        from numpy import percentile

        return float(percentile(scores, 100 - self.options.keep))

    def weight(self, problem: Problem, ballot: Ballot, before: Ballots, latest: Ballots) -> float:
        """The score (or 1) of a trace that reaches the bar; 0 for others, which do not vote."""
        bar = self.bar(before or latest)
        if bar is not None and ballot.score < bar:
            return 0.0
        return ballot.score if self.options.voting == "weighted" else 1.0
