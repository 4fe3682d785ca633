"""Registers speculative thinking."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atts_harness.hookspecs import Preset, hookimpl

if TYPE_CHECKING:
    from atts_harness.results.foreign import PublishedFormat
    from atts_harness.strategy import Strategy


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """Speculative thinking."""
    from atts_speculative_thinking.strategy import SpeculativeThinking

    return [SpeculativeThinking]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published sampling; the strategy's defaults are the other published values."""
    return [
        Preset(
            name="speculative-thinking-paper",
            summary="Speculative thinking as published: temperature 0.6, top_p 0.95, top_k 50",
            settings={
                "strategy": "speculative-thinking",
                "draft_temperature": 0.6,
                "target_temperature": 0.6,
                "top_p": 0.95,
                "top_k": 50,
                "max_gen_toks": 32768,
                "stop_at_answer": False,
            },
        )
    ]


@hookimpl
def atts_published() -> Iterable[PublishedFormat]:
    """Result files of the published code."""
    from atts_speculative_thinking.published import FORMAT

    return [FORMAT]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The paper."""
    return [Path(__file__).with_name("references.yml")]
