"""The published pairs as presets; they stand in `pairs.yaml`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.hookspecs import Preset

FILE = Path(__file__).with_name("pairs.yaml")


class _Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    summary: str
    settings: dict[str, Any]


@functools.cache
def published_pairs() -> tuple[Preset, ...]:
    """A preset for each published pair: backend, draft and target."""
    pairs = msgspec.yaml.decode(FILE.read_bytes(), type=dict[str, _Pair])
    return tuple(Preset(name, pair.settings, pair.summary) for name, pair in pairs.items())
