"""The core's own plugin: its commands, and subprocesses as a launcher.

The core is registered by entry points, as every plugin is. The modules of commands are imported
when `atts` runs, not when a plugin is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer
    from rich.table import Table

    from atts_harness.comparing.cells import Cell
    from atts_harness.comparing.plan import Plan
    from atts_harness.comparing.sizes import Size
    from atts_harness.framework import CalibrationRun
    from atts_harness.launcher import Launcher
    from atts_harness.results.foreign import PublishedFormat


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add the commands of the core."""
    from atts_harness.analysis.audit.command import audit_command
    from atts_harness.analysis.leaderboard.command import report_command
    from atts_harness.analysis.leaderboard.gate import gate_command
    from atts_harness.analysis.regrade.command import regrade_command
    from atts_harness.comparing.command import compare_command
    from atts_harness.conformal.command import calibrate_command
    from atts_harness.engines.doctor.command import add_commands
    from atts_harness.importing.command import import_command
    from atts_harness.journal.command import repair_commands
    from atts_harness.ledger.command import ledger_command
    from atts_harness.options.command import options_command
    from atts_harness.results.command import runs_command

    options_command(app)
    compare_command(app, _planned)
    runs_command(app)
    report_command(app, _documents)
    gate_command(app, _documents)
    regrade_command(app, _documents)
    audit_command(app)
    ledger_command(app)
    repair_commands(app)
    import_command(app, _documents)
    calibrate_command(app, _calibrate)
    add_commands(app)


@hookimpl
def atts_launchers() -> Iterable[Launcher]:
    """Subprocesses of this machine."""
    from atts_harness.comparing.local import LocalLauncher

    return [LocalLauncher()]


@hookimpl
def atts_published() -> Iterable[PublishedFormat]:
    """Result folders of the published ATTS code."""
    from atts_harness.importing.atts import FORMAT

    return [FORMAT]


def _calibrate(run: CalibrationRun) -> str:
    from atts_harness import plugins

    return plugins.framework(run.framework).calibrate(run)


def _planned(
    gpus: str, plan: Plan, cells: Sequence[Cell], sizes: Mapping[str, Size]
) -> Sequence[Table | str]:
    """Simulate what a comparison would take on some GPUs."""
    from atts_harness.simulation.cells import planned
    from atts_harness.simulation.costs import gpus_of

    return planned(gpus_of(gpus), plan.name, cells, sizes)


def _documents(
    task: str, system_instruction: str | None = None, metadata: Mapping[str, Any] | None = None
) -> Sequence[Mapping[str, Any]]:
    """A task's documents from the first framework that has it."""
    from atts_harness import plugins
    from atts_harness.errors import SettingError

    failure = SettingError(
        f"{task}: no evaluation framework is installed, so its golds cannot be read"
    )
    for entry in plugins.frameworks().values():
        try:
            return entry.value.documents(task, system_instruction, metadata)
        except SettingError as error:
            failure = error
    raise failure
