"""Self-consistency (arXiv 2203.11171): all samples are drawn, and the most frequent answer wins."""

from __future__ import annotations

from typing import ClassVar

from atts_harness.strategy import StrategyOptions
from atts_votes.vote import Vote, VoteOptions


class SelfConsistency(Vote):
    """Every sample of the problem is drawn and has one vote."""

    name: ClassVar[str] = "self-consistency"
    Options: ClassVar[type[StrategyOptions]] = VoteOptions
    waits: ClassVar[bool] = False
