"""`atts upgrade RUN` and `atts repair RUN`: journals of earlier releases, and damaged ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from atts_harness.errors import RunDirError
from atts_harness.hookspecs import Stage
from atts_harness.neutral import plain

Run = Annotated[Path, typer.Argument(help="run directory")]


def repair_commands(app: typer.Typer) -> None:
    """Add `atts repair` and `atts upgrade`."""
    for command, example in (
        (repair, "atts repair runs/first"),
        (upgrade, "atts upgrade runs/old"),
    ):
        app.command(rich_help_panel=Stage.KEEP, epilog=f"Example: {example}")(command)


def upgrade(run: Run) -> None:
    """Bring a run directory of an earlier release to this one's layout.

    Reading does not need it, and resuming does it by itself.
    """
    from atts_harness.journal.directory import RunDirectory

    _require(run)
    with contextlib.closing(RunDirectory(run)) as directory:
        done = directory.upgrade()
    typer.echo(f"{run}: {'upgraded' if done else 'is of this release already'}")


def repair(run: Run) -> None:
    """Take damaged records out of a run directory; resuming asks for what is missing then."""
    from atts_harness.journal.directory import RunDirectory

    _require(run)
    with contextlib.closing(RunDirectory(run)) as directory:
        taken = directory.repair()
    for what in taken:
        typer.echo(plain(f"taken out: {what}"))
    again = "; the same command as before makes it again" if taken else ""
    typer.echo(f"{run}: {len(taken)} damaged records{again}")


def _require(run: Path) -> None:
    from atts_harness.journal.schema import JOURNAL

    if not (run / JOURNAL).is_file():
        raise RunDirError(f"{run}: not a run directory: it holds no {JOURNAL}")
