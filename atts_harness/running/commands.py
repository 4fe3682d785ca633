"""`atts ledger RUN`: what a run cost, and its calls and samples as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    from rich.table import Table

    from atts_harness.running.rundir import RecordedRun


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts ledger`."""
    app.command("ledger")(show_ledger)


def show_ledger(
    run: Annotated[Path, typer.Argument(help="run directory")],
    calls: Annotated[
        Path | None, typer.Option(help="write a line of JSON for each call to this file")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="write a line of JSON for each sample to this file")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
) -> None:
    """Show what a run cost so far: tokens, seconds, faults, use of slots."""
    import msgspec
    from rich.console import Console

    from atts_harness.running.rundir import open_run, write_lines

    with open_run(run) as opened:
        if calls is not None:
            write_lines(calls, opened.rows())
        if samples is not None:
            write_lines(samples, opened.sample_rows())
        summary = opened.ledger().summary()
        if json:
            text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
            sys.stdout.write(text.decode() + "\n")
            return
        console = Console()
        console.print(_calls(summary))
        for line in _facts(opened, summary):
            console.print(line, highlight=False)


def _calls(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Calls", title_justify="left")
    table.add_column("role/kind")
    titles = ("calls", "failed", "retries", "read", "cached", "written", "scored", "kept")
    for title in (*titles, "queued p50", "engine p50", "p99"):
        table.add_column(title, justify="right")
    for name, account in summary["calls"].items():
        counts = [account[key] for key in ("calls", "failed", "retries")]
        tokens = ("prompt", "cached", "completion", "scored", "kept")
        counts += [account[f"{key}_tokens"] for key in tokens]
        seconds = [
            account["queued"].get("p50"),
            account["engine"].get("p50"),
            account["engine"].get("p99"),
        ]
        table.add_row(
            name,
            *(f"{count:,}" for count in counts),
            *("" if value is None else f"{value:.2f} s" for value in seconds),
        )
    return table


def _facts(run: RecordedRun, summary: dict[str, Any]) -> list[str]:
    samples, missing = summary["samples"], len(run.missing())
    lines = [
        f"{samples.get('finished', 0)} samples finished, {samples.get('failed', 0)} failed, "
        f"{missing} missing, in {summary['seconds']:.1f} s",
    ]
    for lane, use in summary["slots"].items():
        if use["busy_seconds"]:
            lines.append(f"{lane}: {use['bound']} slots, {use['idle_share']:.0%} idle")
    ratio = summary["intensity"]["ratio"]
    if ratio is not None:
        lines.append(f"time in engines over time waiting for others: {ratio:.2f}")
    for role, dollars in summary["cost"].items():
        lines.append(f"{role}: ${dollars:.2f}")
    return lines
