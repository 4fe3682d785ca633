"""What this package adds to the harness: commands that need lm-eval, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts lm-eval`."""
    from atts_lm_eval import commands

    commands.add_to(app)


@hookimpl
def atts_registrations() -> tuple[str, Iterable[tuple[str, str, str]]]:
    """How models and tasks reach lm-eval here."""
    from atts_lm_eval import commands

    return commands.registrations()
