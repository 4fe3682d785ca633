"""`atts compare`: the command line."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atts_harness.comparing.cells import Cell
    from atts_harness.comparing.dry import Planned
    from atts_harness.comparing.plan import PlanFile
    from atts_harness.comparing.show import Show
    from atts_harness.comparing.status import Status


def compare_command(app: typer.Typer, planned: Planned | None = None) -> None:
    """Add `atts compare`.

    Args:
        app: the `atts` command.
        planned: says what the cells would take on some GPUs, for `--dry-run --gpus`.
    """
    app.command(
        "compare",
        context_settings={"obj": planned},
        rich_help_panel=Stage.RUN,
        epilog="Example: atts compare plan.yaml --dry-run",
    )(compare)


def compare(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="a plan file, or the name of one that is included")],
    out: Annotated[
        Path | None, typer.Option(help="folder of the comparison, in place of the plan's")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="preset of a pair, in place of the plan's (repeatable)")
    ] = None,
    model_args: Annotated[
        str, typer.Option(help="settings on top of every pair's: target_devices=1+2, or JSON")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show cells, requests and tokens; run nothing")
    ] = False,
    probe: Annotated[
        bool, typer.Option(help="with --dry-run: run two samples of each strategy for the time")
    ] = False,
    gpus: Annotated[
        str | None,
        typer.Option(help="with --dry-run: simulate the time on GPUs, NAME:COUNT, such as h100:3"),
    ] = None,
    launcher: Annotated[
        str | None, typer.Option(help="where cells run, in place of the plan's: NAME or NAME=WHERE")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="a Ray cluster: local, auto or HOST:PORT; short for --launcher ray=..."),
    ] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(help="start cells afresh: TASK/PAIR/ROW, * for anything (repeatable)"),
    ] = None,
    report: Annotated[bool, typer.Option(help="write the report at the end")] = True,
) -> None:
    """Run tasks x strategies x pairs x operating points of a plan, and report them.

    Every cell is a command in a process and a folder of its own. The same command again runs what
    is missing or failed.
    """
    from atts_harness import plugins
    from atts_harness.arguments import parse_arguments
    from atts_harness.comparing.cells import expand
    from atts_harness.comparing.order import in_order
    from atts_harness.comparing.plan import read_plan
    from atts_harness.comparing.tasks import check_tasks
    from atts_harness.errors import SettingError

    added = parse_arguments(model_args, "--model-args")
    if gpus is not None and not dry_run:
        raise SettingError("--gpus: it is for --dry-run; a run takes the devices of its pairs")
    chosen_launcher = launcher if ray is None else f"ray={ray}"
    if ray is not None and launcher is not None:
        raise SettingError("launcher: --ray says where cells run, too; give one of them")
    file = read_plan(plan, pairs=pair or (), model_args=added, launcher=chosen_launcher)
    listed = expand(file, installed=probe or not dry_run)
    cells = in_order(listed, file.plan.seed, shuffle=file.plan.shuffle)
    framework = plugins.framework(file.plan.framework)
    plugins.launcher(file.plan.launcher_name)  # an unknown one is refused before anything is made
    check_tasks(file, framework)
    folder = out or Path(file.plan.out)
    if dry_run:
        from atts_harness.comparing.dry import dry_run as show_cells
        from atts_harness.comparing.status import merged, read_status

        earlier = read_status(folder)
        status = earlier and merged(earlier, listed, file.plan, file.source.name)
        states = {cell.name: cell.state for cell in status.cells} if status else {}
        planned: Planned | None = context.obj
        simulate = partial(planned, gpus) if gpus is not None and planned is not None else None
        show_plan = partial(show_cells, probe=probe, states=states, simulate=simulate)
        show_plan(file.plan, cells, folder, framework)
        return
    with_report = report and file.plan.report
    if with_report:
        _check_report()
    _run(file, listed, cells, folder, redo or [], report=with_report)


def _check_report() -> None:
    """Check that the report at the end can be written, before hours are spent on its cells.

    Raises:
        SettingError: a package for the page is not installed; says how to do without.
    """
    from atts_harness.analysis.leaderboard.command import check_page
    from atts_harness.errors import MissingExtraError, SettingError

    try:
        check_page()
    except MissingExtraError as error:
        raise SettingError(
            f"{error}; or run without a report (--no-report, `report: false`) and make it later"
        ) from error


def _run(
    file: PlanFile,
    listed: Sequence[Cell],
    cells: Sequence[Cell],
    folder: Path,
    redo: Sequence[str],
    *,
    report: bool,
) -> None:
    """Run a plan: `listed` are its cells in the plan's order, `cells` in the order to run them."""
    from atts_harness import plugins
    from atts_harness.comparing.afresh import aside, start_afresh
    from atts_harness.comparing.runner import PlanRunner
    from atts_harness.comparing.show import Show, counted
    from atts_harness.comparing.status import Folder, merged
    from atts_harness.errors import SAMPLES_FAILED, RunInterruptedError
    from atts_harness.running.interrupts import command_line

    framework = plugins.framework(file.plan.framework)
    launcher = plugins.launcher(file.plan.launcher_name)

    locked = Folder(folder)
    try:
        earlier = locked.read()
        again = start_afresh(locked, earlier, redo)
        status = merged(earlier, listed, file.plan, file.source.name)
        status.order = [cell.name for cell in cells]
        show = Show(len(cells), sum(cell.state == "done" for cell in status.cells))
        if again:
            show.say(f"started afresh, old files kept in {aside(folder)}: {', '.join(again)}")
        locked.write(status)
        runner = PlanRunner(file.plan, cells, locked, status, show, framework, launcher)
        runner.run()
    finally:
        locked.close()
    show.table(status)
    show.say(f"{folder}: {counted(status.cells)}")
    if runner.signals:
        name = signal.Signals(runner.signals[0]).name
        raise RunInterruptedError(
            f"{name}: stopped; to continue: {command_line()}",
            exit_status=128 + runner.signals[0],
        )
    if runner.gone is not None:
        raise RunInterruptedError(f"{runner.gone}; to continue: {command_line()}")
    if report:
        _report(status, folder, show)
    if any(cell.state != "done" for cell in status.cells):
        show.say(f"to try again what is not done: {command_line()}")
        raise typer.Exit(1)
    if any(cell.exit_status == SAMPLES_FAILED for cell in status.cells):
        raise typer.Exit(SAMPLES_FAILED)


def _report(status: Status, folder: Path, show: Show) -> None:
    """The report of the cells that are done, as `atts report` makes it."""
    from atts_harness.analysis.leaderboard import build as leaderboard
    from atts_harness.analysis.leaderboard.command import write
    from atts_harness.analysis.leaderboard.outputs.terminal import render
    from atts_harness.errors import MissingExtraError

    folders = [folder / cell.folder for cell in status.cells if cell.state == "done"]
    if not folders:
        return
    result = leaderboard.report(folders)
    show.console.print(render(result.leaderboard), highlight=False)
    try:
        written = write(result, folder / "report", title=status.name)
    except MissingExtraError as error:  # the other files are there
        show.say(f"report: {error}")
        return
    show.say(f"written: {', '.join(map(str, written))}")
