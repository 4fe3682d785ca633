"""`atts runs`: the runs below a folder, with their state and headline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from rich.table import Table

    from atts_harness.results.listing import ListedRun

STYLES = {"finished": "green", "interrupted": "yellow", "not ended": "cyan", "imported": ""}


def runs_command(app: typer.Typer) -> None:
    """Add `atts runs`."""
    app.command("runs", rich_help_panel=Stage.LOOK, epilog="Example: atts runs runs/compare")(
        show_runs
    )


def show_runs(
    folder: Annotated[Path, typer.Argument(help="folder with run directories")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
) -> None:
    """List the runs in a folder with their state and headline figure."""
    import msgspec

    from atts_harness import terminal
    from atts_harness.results.listing import runs_below

    runs = runs_below(folder)
    if json:
        text = msgspec.json.format(msgspec.json.encode(runs, enc_hook=str), indent=2)
        sys.stdout.write(text.decode() + "\n")
        return
    console = terminal.console()
    console.print(_table(folder, runs))
    for run in runs:
        if run.fault:
            console.print(f"{run.path}: {run.fault}", soft_wrap=True)


def _table(folder: Path, runs: list[ListedRun]) -> Table:
    from rich.table import Table
    from rich.text import Text

    above = _above(folder, runs)
    table = Table(title=f"{len(runs)} run{'s' * (len(runs) != 1)} in {above}")
    table.title_justify = "left"
    for title in ("run", "strategy", "task", "state"):
        table.add_column(title, overflow="fold")
    for title in ("samples", "headline"):
        table.add_column(title, justify="right")
    for run in runs:
        name = str(run.path.relative_to(above))
        headline = "" if run.value is None else f"{run.metric} {run.value:.3f}"
        failed = f"\n{run.failed} failed" if run.failed else ""
        table.add_row(
            above.name if name == "." else name,
            run.strategy,
            ", ".join(run.tasks),
            Text(run.state, style=STYLES.get(run.state, "bold red")),
            f"{run.done}/{run.samples}{failed}" if run.samples else "",
            headline,
        )
    return table


def _above(folder: Path, runs: list[ListedRun]) -> Path:
    """The deepest folder that holds all runs: said once, it leaves lines the room for names."""
    if not runs or any(run.path == folder for run in runs):
        return folder
    return Path(os.path.commonpath([run.path.parent for run in runs]))
