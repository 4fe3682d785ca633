"""The votes, announced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.hookspecs import Preset, hookimpl

if TYPE_CHECKING:
    from atts_harness.strategy import Strategy


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """The votes."""
    from atts_votes.adaptive_consistency import AdaptiveConsistency
    from atts_votes.self_consistency import SelfConsistency

    return [SelfConsistency, AdaptiveConsistency]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published settings."""
    return [
        Preset(
            name="adaptive-consistency-paper",
            summary="adaptive-consistency as published: Beta rule at .95",
            settings={"strategy": "adaptive-consistency", "inner": "target-only", "sure": 0.95},
        ),
    ]
