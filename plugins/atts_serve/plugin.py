"""What this package adds: the command `atts serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add the command."""
    from atts_serve.command import serve

    app.command("serve")(serve)
