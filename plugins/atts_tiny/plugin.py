"""What this package adds: the preset `tiny`, used when no model is named."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.hookspecs import Preset, hookimpl
from atts_tiny.paths import draft_path, target_path


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The embedded pair, in float32: exact scores, and on a CPU the fastest of the types."""
    return [
        Preset(
            name="tiny",
            settings={
                "draft": str(draft_path()),
                "target": str(target_path()),
                "backend": "transformers",
                "dtype": "float32",
            },
            summary="the embedded pair of small arithmetic models; runs on any CPU",
            default=True,
        )
    ]
