"""What this package adds to the harness: commands that need lm-eval, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer

    from atts_harness.hookspecs import Preset


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts lm-eval`, `atts calibrate` and `atts compare`."""
    from atts_harness.conformal.command import calibrate_command
    from atts_lm_eval import commands
    from atts_lm_eval.calibrate import run_task
    from atts_lm_eval.compare.command import compare

    commands.add_to(app)
    calibrate_command(app, run_task)
    app.command("compare")(compare)


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published pairs."""
    from atts_lm_eval.presets import published_pairs

    return published_pairs()


@hookimpl
def atts_registrations() -> tuple[str, Iterable[tuple[str, str, str]]]:
    """How models and tasks reach lm-eval here."""
    from atts_lm_eval import commands

    return commands.registrations()
