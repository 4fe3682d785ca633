"""Registers the launcher; Ray itself is imported when a comparison is run with it."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.hookspecs import hookimpl
from atts_harness.launcher import Launcher


@hookimpl
def atts_launchers() -> Iterable[Launcher]:
    """`ray`."""
    from atts_ray.launcher import RayLauncher

    return [RayLauncher()]
