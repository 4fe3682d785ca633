"""What this package adds: presets `tiny`, used when no model is named, and `tiny-calibrated`."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.hookspecs import Preset, hookimpl
from atts_tiny.paths import BANKS, draft_path, target_path


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The embedded pair, in float32: exact scores, and on a CPU the fastest of the types."""
    pair: dict[str, str | float | int | bool] = {
        "draft": str(draft_path()),
        "target": str(target_path()),
        "backend": "transformers",
        "dtype": "float32",
    }
    return [
        Preset(
            name="tiny",
            settings=pair,
            summary="the embedded pair of small arithmetic models; runs on any CPU",
            default=True,
        ),
        Preset(
            name="tiny-calibrated",
            settings={**pair, "bank": str(BANKS)},
            summary="the embedded pair with the banks shipped for the chain tasks",
        ),
    ]
