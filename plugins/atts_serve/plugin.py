"""What this package adds: the commands `atts serve` and `atts view`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add the commands."""
    from atts_serve.command import serve, view

    app.command("serve")(serve)
    app.command("view")(view)
