"""Registers `backend=simulated`, by which plans in simulated time name their models."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.backend import Backend, BackendKind, BackendOptions, BackendSpec
from atts_harness.errors import SettingError
from atts_harness.hookspecs import hookimpl


async def _open(spec: BackendSpec) -> Backend:
    raise SettingError(
        "backend=simulated: it runs in simulated time only; use `atts plan`, or a backend with a "
        "model"
    )


@hookimpl
def atts_backends() -> Iterable[BackendKind]:
    """Models whose time is simulated."""
    return [
        BackendKind("simulated", BackendOptions, _open, "models in simulated time, for `atts plan`")
    ]
