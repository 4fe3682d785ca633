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
        upgraded = directory.upgrade()
    typer.echo(f"{run}: {'upgraded' if upgraded else 'is of this release already'}")


def repair(run: Run) -> None:
    """Remove damaged records from a run directory; resuming then makes what is missing again."""
    from atts_harness.journal.directory import RunDirectory

    _require(run)
    with contextlib.closing(RunDirectory(run)) as directory:
        removed = directory.repair()
    for record in removed:
        typer.echo(plain(f"taken out: {record}"))
    again = "; the same command as before makes it again" if removed else ""
    typer.echo(f"{run}: {len(removed)} damaged records{again}")


def _require(run: Path) -> None:
    from atts_harness.journal.schema import JOURNAL

    if not (run / JOURNAL).is_file():
        raise RunDirError(f"{run}: not a run directory: it holds no {JOURNAL}")
