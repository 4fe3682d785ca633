"""What this package adds: the commands `atts serve` and `atts view`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atts_harness.hookspecs import Stage, hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add the commands."""
    from atts_serve.command import serve, view

    app.command(
        "serve", rich_help_panel=Stage.RUN, epilog="Example: atts serve --model atts:rate=0.2"
    )(serve)
    app.command("view", rich_help_panel=Stage.LOOK, epilog="Example: atts view runs/first")(view)
