"""Registers the commands that start, examine and warm servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `serve-models`, `doctor` and `warmup`."""
    from atts_harness.engines.doctor.command import add_commands

    add_commands(app)
