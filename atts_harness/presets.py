"""From the names of presets to the settings that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atts_harness import plugins
from atts_harness.errors import UnknownSettingError

# Whoever names one of these has said which models to use; the default preset stays away.
MODELS = frozenset(
    {
        *("draft", "target", "backend", "draft_backend", "target_backend"),
        *("url", "draft_url", "target_url"),
    }
)


def preset_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the presets of some settings stand for; later ones win.

    The default preset is used where neither the settings nor their presets say which models to
    use.

    Args:
        settings: `preset` holds names, joined by `+`; what else is given matters for the default.

    Raises:
        UnknownSettingError: no such preset; names the nearest.
    """
    known = plugins.presets()
    joined: dict[str, Any] = {}
    for name in filter(None, str(settings.get("preset") or "").split("+")):
        if name not in known:
            raise UnknownSettingError(name, known, where="preset")
        joined |= known[name].value.settings
    given = {name for name, value in settings.items() if value is not None}
    if not MODELS & {*given, *joined}:
        for entry in known.values():
            if entry.value.default:
                joined = {**entry.value.settings, **joined}
    return joined


def with_presets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings on top of what their presets stand for.

    Raises:
        UnknownSettingError: no such preset; names the nearest.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    return {**preset_settings(given), **given}
