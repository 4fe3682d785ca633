"""Registers the controls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    from atts_harness.strategy import Strategy


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """The controls."""
    from atts_controls.coin import AlwaysTakeover, DraftOnly, RandomTakeover
    from atts_controls.one_model import OneModel
    from atts_controls.synchronous import Synchronous
    from atts_controls.target_only import TargetOnly

    return [DraftOnly, TargetOnly, AlwaysTakeover, RandomTakeover, Synchronous, OneModel]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The paper that these controls come from."""
    return [Path(__file__).with_name("references.yml")]
