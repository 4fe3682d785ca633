"""Lanes: the sorts of calls that have slots of their own, the most urgent first."""

from __future__ import annotations

from typing import Literal

from atts_harness.records import CallRole
from atts_harness.settings import RunOptions

Lane = Literal["score", "takeover", "draft"]
LANES: tuple[Lane, ...] = ("score", "takeover", "draft")  # the most urgent first
TARGET_LANES: frozenset[Lane] = frozenset({"score", "takeover"})


def lane_of(role: CallRole, kind: str) -> Lane:
    """The lane of a call: what is not a draft's and not a score is a target's generation.

    An extractor's calls are generations too, on an engine of its own.
    """
    return "draft" if role == "draft" else "score" if kind == "score" else "takeover"


def priority_of(role: CallRole, kind: str) -> int:
    """Priority for an engine with a queue of its own; smaller is more urgent."""
    return LANES.index(lane_of(role, kind))


def lanes_of(options: RunOptions) -> dict[Lane, int]:
    """Most calls in flight by lane, without the bounds that lanes share."""
    return {
        "score": options.score_concurrency,
        "takeover": options.takeover_concurrency,
        "draft": options.draft_concurrency,
    }
