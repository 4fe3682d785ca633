"""`atts runs`: the runs below a folder, with their state and headline."""

from __future__ import annotations

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

    found = runs_below(folder)
    if json:
        text = msgspec.json.format(msgspec.json.encode(found, enc_hook=str), indent=2)
        sys.stdout.write(text.decode() + "\n")
        return
    console = terminal.console()
    console.print(_table(folder, found))
    for one in found:
        if one.why:
            console.print(f"{one.path}: {one.why}", soft_wrap=True)


def _table(folder: Path, found: list[ListedRun]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(found)} run{'s' * (len(found) != 1)} in {folder}")
    table.title_justify = "left"
    for title in ("run", "strategy", "task", "state"):
        table.add_column(title, overflow="fold")
    for title in ("samples", "headline"):
        table.add_column(title, justify="right")
    for one in found:
        name = str(one.path.relative_to(folder))
        headline = "" if one.value is None else f"{one.metric} {one.value:.3f}"
        failed = f"\n{one.failed} failed" if one.failed else ""
        table.add_row(
            folder.name if name == "." else name,
            one.strategy,
            ", ".join(one.tasks),
            Text(one.state, style=STYLES.get(one.state, "bold red")),
            f"{one.done}/{one.samples}{failed}" if one.samples else "",
            headline,
        )
    return table
