"""Early-stopping self-consistency (arXiv 2401.10480): draw windows until one is unanimous.

A window whose answers are all equal ends the vote, and its answer is the problem's; without one the
answer is the most frequent of all. Samples that fill no whole window are never drawn, as published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

import msgspec

from atts_harness.strategy import Problem, StrategyOptions
from atts_votes.counting import counted
from atts_votes.vote import Ballot, Ballots, Vote, VoteOptions


class ESCOptions(VoteOptions, frozen=True, kw_only=True):
    """How many samples have to agree."""

    window: Annotated[
        int, msgspec.Meta(ge=2, description="samples that are drawn together, and have to agree")
    ] = 5


class ESC(Vote):
    """Samples are drawn in windows until all answers of a window are equal."""

    name: ClassVar[str] = "esc"
    Options: ClassVar[type[StrategyOptions]] = ESCOptions

    def fewest(self) -> tuple[int, str]:
        """One window."""
        return self.options.window, f"window={self.options.window}"

    def batches(self, repeats: Sequence[int]) -> Iterable[Sequence[int]]:
        """Whole windows."""
        size = self.options.window
        return [repeats[at : at + size] for at in range(0, len(repeats) - size + 1, size)]

    def enough(self, problem: Problem, cast: Ballots, latest: Ballots) -> bool:
        """Whether the window is unanimous; a sample that failed or has no answer does not agree."""
        answers = [ballot.answer for ballot in latest.values()]
        return counted(answers, problem.kind) == [self.options.window]

    def weight(self, problem: Problem, ballot: Ballot, before: Ballots, latest: Ballots) -> float:
        """1; more in a unanimous window, so that it outweighs all earlier windows."""
        return 1.0 + len(before) * self.enough(problem, {}, latest)
