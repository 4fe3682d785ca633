"""What this package adds: its lm-eval tasks, `atts regrade` and `atts report`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def atts_task_dirs() -> Iterable[Path]:
    """Every YAML below this package."""
    return [Path(__file__).parent]


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts regrade` and `atts report`, which need to know the tasks' golds."""
    from atts_harness.analysis.leaderboard.command import report_command
    from atts_harness.analysis.regrade.command import regrade_command
    from atts_tasks.documents import of_task

    regrade_command(app, of_task)
    report_command(app, of_task)
