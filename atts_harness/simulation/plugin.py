"""Registers `atts plan`, `atts measure` and `backend=simulated`, which names their models."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from atts_harness.backend import Backend, BackendKind, BackendOptions, BackendSpec
from atts_harness.errors import SettingError
from atts_harness.hookspecs import hookimpl
from atts_harness.simulation.command import plan_command
from atts_harness.simulation.measuring import measure_command


async def _open(spec: BackendSpec[BackendOptions]) -> Backend:
    raise SettingError(
        "backend=simulated: it runs in simulated time only; use `atts plan`, or a backend with a "
        "model"
    )


@hookimpl
def atts_backends() -> Iterable[BackendKind[BackendOptions]]:
    """Models whose time is simulated."""
    return [
        BackendKind("simulated", BackendOptions, _open, "models in simulated time, for `atts plan`")
    ]


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts plan` and `atts measure`."""
    plan_command(app)
    measure_command(app)
