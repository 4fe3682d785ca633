"""Turns the names of presets into the settings that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atts_harness import plugins
from atts_harness.errors import UnknownSettingError

# Settings that choose the models: with any of them, the default preset is not used.
MODELS = frozenset(
    {
        *("draft", "target", "backend", "draft_backend", "target_backend"),
        *("url", "draft_url", "target_url"),
    }
)


def preset_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that presets stand for; later presets win.

    The default preset is used if neither the settings nor their presets choose the models.

    Args:
        settings: `preset` holds names, joined by `+`; the others decide about the default preset.

    Raises:
        UnknownSettingError: no such preset; names the nearest.
    """
    presets = plugins.presets()
    joined: dict[str, Any] = {}
    for name in filter(None, str(settings.get("preset") or "").split("+")):
        if name not in presets:
            raise UnknownSettingError(name, presets, source="preset", what="preset")
        joined |= presets[name].value.settings
    names = {name for name, value in settings.items() if value is not None}
    if not MODELS & {*names, *joined}:
        for entry in presets.values():
            if entry.value.default:
                joined = {**entry.value.settings, **joined}
    return joined


def with_presets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings together with those of their presets, which they override.

    Raises:
        UnknownSettingError: no such preset; names the nearest.
    """
    explicit = {name: value for name, value in settings.items() if value is not None}
    return {**preset_settings(explicit), **explicit}
