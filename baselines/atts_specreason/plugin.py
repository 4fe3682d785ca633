"""SpecReason, announced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.hookspecs import Preset, hookimpl

if TYPE_CHECKING:
    from atts_harness.strategy import Strategy


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """SpecReason."""
    from atts_specreason.strategy import SpecReason

    return [SpecReason]


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published sampling; the strategy's own defaults are published already."""
    return [
        Preset(
            name="specreason-paper",
            summary="SpecReason as published: temperature 0.6, top_p 0.95, 8192 kept tokens",
            settings={
                "strategy": "specreason",
                "draft_temperature": 0.6,
                "target_temperature": 0.6,
                "top_p": 0.95,
                "max_gen_toks": 8192,
                "paper_join": True,
            },
        )
    ]
