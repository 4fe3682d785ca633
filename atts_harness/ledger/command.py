"""`atts ledger RUN`: what a run cost, and its calls and samples as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness import terminal
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from rich.table import Table

    from atts_harness.journal.reader import RecordedRun


def ledger_command(app: typer.Typer) -> None:
    """Add `atts ledger`."""
    app.command(
        "ledger",
        rich_help_panel=Stage.LOOK,
        epilog="Example: atts ledger runs/first --calls-file calls.jsonl",
    )(show_ledger)


def show_ledger(
    run: Annotated[Path, typer.Argument(help="run directory")],
    calls: Annotated[
        Path | None,
        typer.Option("--calls-file", help="write a line of JSON for each call to this file"),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples-file", help="write a line of JSON for each sample to this file"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
) -> None:
    """Show what a run cost so far: tokens, seconds, faults, use of slots."""
    import msgspec

    from atts_harness.journal.reader import open_run
    from atts_harness.ledger.recorded import call_rows, ledger_of, sample_rows, write_lines

    with open_run(run) as opened:
        if calls is not None:
            write_lines(calls, call_rows(opened))
        if samples is not None:
            write_lines(samples, sample_rows(opened))
        summary = ledger_of(opened).summary()
        if json:
            text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
            sys.stdout.write(text.decode() + "\n")
            return
        console = terminal.console()
        if summary["calls"]:
            console.print(terminal.FittedTable(_calls(summary)))
        for line in _facts(opened, summary):
            console.print(line, highlight=False)


COUNTS = ("calls", "failed", "retries")
TOKENS = {
    "read": "prompt",
    "cached": "cached",
    "computed": "computed",
    "written": "completion",
    "scored": "scored",
    "kept": "kept",
    "thrown away": "discarded",
}
SECONDS = (("queued", "p50"), ("queued", "p99"), ("engine", "p50"), ("engine", "p99"))


def _calls(summary: dict[str, Any]) -> Table:
    """A column for each sort of call: a run has few of them, and a terminal is narrow."""
    from rich.table import Table

    accounts = summary["calls"]
    table = Table("", title="Calls", title_justify="left")
    for name in accounts:
        table.add_column(name, justify="right")

    def row(title: str, cells: Iterable[str]) -> None:
        table.add_row(title, *cells)

    for count in COUNTS:
        row(count, [f"{account[count]:,}" for account in accounts.values()])
    for title, kind in TOKENS.items():
        row(f"tokens {title}", [f"{a[f'{kind}_tokens']:,}" for a in accounts.values()])
    for part, quantile in SECONDS:
        quantiles = [account[part].get(quantile) for account in accounts.values()]
        row(f"{part}, {quantile}", ["" if t is None else f"{t:.2f} s" for t in quantiles])
    return table


def _facts(run: RecordedRun, summary: dict[str, Any]) -> list[str]:
    from atts_harness.identity import score_routes
    from atts_harness.ledger.statistics import intensity_in_words

    samples, missing = summary["samples"], len(run.missing())
    if run.record.imported:
        return [
            f"{samples.get('finished', 0)} samples, {missing} missing; imported from "
            f"{run.record.imported}: calls, tokens and total time were not recorded"
        ]
    lines = [
        f"{samples.get('finished', 0)} samples finished, {samples.get('failed', 0)} failed, "
        f"{missing} missing, in {summary['seconds']:.1f} s",
    ]
    for role, route in score_routes(run.record.roles).items():
        if f"{role}/score" in summary["calls"]:
            lines.append(f"{role}: scores by {route}")
    for lane, use in summary["slots"].items():
        if use["busy_seconds"]:
            lines.append(f"{lane}: {use['bound']} slots, {use['idle_share']:.0%} idle")
    ratio = summary["intensity"]["ratio"]
    if ratio is not None:
        lines.append(f"time in engines over time waiting for others: {intensity_in_words(ratio)}")
    for role, dollars in summary["cost"].items():
        lines.append(f"{role}: ${dollars:.2f}")
    return lines
