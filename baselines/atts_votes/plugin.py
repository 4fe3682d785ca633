"""Registers the votes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atts_harness.hookspecs import Preset, hookimpl

if TYPE_CHECKING:
    from atts_harness.strategy import Strategy

# The published answer is the plain majority of the traces that are kept; a trace is looked at in
# chunks, since an engine is not asked to look itself.
DEEPCONF = {
    "strategy": "deepconf",
    "inner": "target-only",
    "group_tokens": 2048,
    "trace_score": "lowest",
    "voting": "majority",
    "chunk_tokens": 512,
    "stop_at_answer": False,
}


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """The votes."""
    from atts_votes.adaptive_consistency import AdaptiveConsistency
    from atts_votes.deepconf import DeepConf
    from atts_votes.esc import ESC
    from atts_votes.self_consistency import SelfConsistency

    return [SelfConsistency, AdaptiveConsistency, ESC, DeepConf]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published settings."""
    return [
        Preset(
            name="adaptive-consistency-paper",
            summary="adaptive-consistency as published: Beta rule at .95",
            settings={"strategy": "adaptive-consistency", "inner": "target-only", "sure": 0.95},
        ),
        Preset(
            name="esc-paper",
            summary="early-stopping self-consistency as published: windows of 5",
            settings={"strategy": "esc", "inner": "target-only", "window": 5},
        ),
        Preset(
            name="deepconf-paper",
            summary="DeepConf online as published: 16 warm-up traces, about 90 % kept",
            settings=DEEPCONF | {"mode": "online", "warmup": 16, "keep": 90.0},
        ),
        Preset(
            name="deepconf-low-paper",
            summary="DeepConf online as in its example: about 10 % kept",
            settings=DEEPCONF | {"mode": "online", "warmup": 16, "keep": 10.0},
        ),
        Preset(
            name="deepconf-offline-paper",
            summary="DeepConf offline as published: the top 10 % by their lowest group vote",
            settings=DEEPCONF | {"mode": "offline", "keep": 10.0},
        ),
    ]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The papers."""
    return [Path(__file__).with_name("references.yml")]
