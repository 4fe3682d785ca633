"""Settings of a cell whose servers are already running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atts_harness import plugins
from atts_harness.backend import BackendKind, Role
from atts_harness.engines.managed import start_settings
from atts_harness.presets import with_presets
from atts_harness.settings import ROLES, RunOptions


def backend_of(settings: Mapping[str, Any], role: Role) -> BackendKind[Any]:
    """The backend that a role gets by settings, presets included.

    Raises:
        UnknownSettingError: no such backend or preset.
    """
    values = with_presets(settings)
    name = values.get(f"{role}_backend") or values.get("backend") or RunOptions().backend
    return plugins.backend(str(name))


def reaching(
    strategy: str, settings: Mapping[str, Any], further: Mapping[str, Any]
) -> dict[str, Any]:
    """A cell's settings: with its servers' addresses, without the settings that started them.

    Args:
        strategy: the cell's.
        settings: the cell's own.
        further: settings that override the cell's, such as addresses of servers started for it.
    """
    served = [role for role in plugins.strategy(strategy).roles if f"{role}_url" in further]
    if not served:
        return {**settings, **further}
    merged = {**settings, **further}
    starting = {role: start_settings(backend_of(merged, role).options) for role in served}
    # A setting for all roles stays if one of them is not served.
    unserved = [r for r in plugins.strategy(strategy).roles if r not in served]
    used = {
        name for role in unserved for name in backend_of(merged, role).options.__struct_fields__
    }
    left_out = {f"{role}_{name}" for role, names in starting.items() for name in names}
    left_out |= {name for names in starting.values() for name in names} - used
    left_out -= further.keys() | {f"{role}_backend" for role in ROLES}
    return {name: value for name, value in merged.items() if name not in left_out}
