"""`atts audit RUN`. Imports numpy and other slow packages only when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from atts_harness.hookspecs import Stage


def audit_command(app: typer.Typer) -> None:
    """Add `atts audit`."""
    app.command("audit", rich_help_panel=Stage.REPORT, epilog="Example: atts audit runs/first")(
        show_audit
    )


def show_audit(
    run: Annotated[Path, typer.Argument(help="run directory, or a published trace (.jsonl.gz)")],
    task: Annotated[str | None, typer.Option(help="only this task")] = None,
    samples: Annotated[
        list[Path] | None,
        typer.Option(
            "--sample-log", help="lm-eval's sample log of the run (samples_*.jsonl), for its grades"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="audit an unfinished run as far as it went; marked")
    ] = False,
    bank: Annotated[
        Path | None,
        typer.Option(help="rank the run's scores against this bank again, and compare decisions"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
) -> None:
    """Audit a run's takeover control: realised against nominal rates, and what they are worth."""
    if bank is not None:
        _show_reranking(run, bank, task, json)
        return
    import msgspec

    from atts_harness import terminal
    from atts_harness.analysis.audit.loading import audit_path
    from atts_harness.analysis.audit.tables import render

    audits = audit_path(run, task=task, samples=samples or (), force=force)
    if json:
        data = msgspec.json.format(msgspec.json.encode(audits), indent=2)
        sys.stdout.write(data.decode() + "\n")
        return
    console = terminal.console()
    for audit in audits:
        console.print(render(audit))


def _show_reranking(run: Path, bank: Path, task: str | None, json: bool) -> None:
    import msgspec

    from atts_harness import terminal
    from atts_harness.analysis.audit.reranking import rerank_path

    rerankings = rerank_path(run, bank, task)
    if json:
        sys.stdout.write(
            msgspec.json.format(msgspec.json.encode(rerankings), indent=2).decode() + "\n"
        )
    else:
        console = terminal.console()
        for reranking in rerankings:
            first = f"; the first that differs: {reranking.first}" if reranking.first else ""
            console.print(
                f"{reranking.task}: {reranking.same} of {reranking.scored} decisions are "
                f"reproduced, ranked against {reranking.size} scores of {reranking.bank}; "
                f"{reranking.same_p_values} p-values are equal to the last bit{first}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    if any(reranking.same != reranking.scored for reranking in rerankings):
        raise typer.Exit(1)
