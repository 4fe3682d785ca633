"""`atts plan`: time, memory and money of a comparison before anything is rented."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness import terminal
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from atts_harness.analysis.html.figure import Figure
    from atts_harness.comparing.cells import Cell
    from atts_harness.simulation.cells import CellRow, Ground
    from atts_harness.simulation.tables import TableRemarks
    from atts_harness.simulation.traces import RunTrace


NAMED_BY_OPTIONS = ("strategy", "draft", "target")


def plan_command(app: typer.Typer) -> None:
    """Add `atts plan`."""
    app.command(
        "plan",
        rich_help_panel=Stage.PREPARE,
        epilog="Example: atts plan --pair r1-llama-8b-qwq-32b --gpus h100:3 --sweep repeats=1,16",
    )(show_plan)


def show_plan(
    gpus: Annotated[str, typer.Option(help="GPUs, as NAME:COUNT, such as h100:3")],
    plan_file: Annotated[
        str | None, typer.Argument(help="a plan of `atts compare`: a row for each of its cells")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="preset of a published pair")] = None,
    draft: Annotated[str | None, typer.Option(help="draft model: hub id or folder")] = None,
    target: Annotated[str | None, typer.Option(help="target model: hub id or folder")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="run directory or published trace; default: a published summary"),
    ] = None,
    task: Annotated[str | None, typer.Option(help="task of the trace")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="strategy; may be repeated")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="setting and its values, such as repeats=1,16 or rate=.2,.4"),
    ] = None,
    gpu_split: Annotated[
        str | None, typer.Option(help="GPUs of draft and target, such as 1+2; default: the best")
    ] = None,
    split: Annotated[str | None, typer.Option(hidden=True)] = None,
    problems: Annotated[
        int | None, typer.Option(min=1, help="questions; default: the trace's")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="further settings, as in --model_args")
    ] = None,
    price: Annotated[float | None, typer.Option(help="dollars per GPU hour")] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="measured costs of an engine, ROLE=FILE, by `atts measure`"),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="search for the limits with which each row is quickest")
    ] = False,
    kernels: Annotated[
        bool,
        typer.Option("--kernels", help="step costs from measured kernel tables (extra `plan`)"),
    ] = False,
    gpu_file: Annotated[Path | None, typer.Option(help="further GPUs, as YAML")] = None,
    out: Annotated[
        Path | None, typer.Option(help="write a page with the rows and figures of the sweeps")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="plain data instead of a table")] = False,
) -> None:
    """Estimate how long a run would take on some GPUs, what limits it, and what it would cost."""
    import msgspec

    from atts_harness.errors import SettingError
    from atts_harness.simulation.cells import Ground, shown_rows
    from atts_harness.simulation.costfile import role_costs
    from atts_harness.simulation.costs import gpus_of
    from atts_harness.simulation.plans import SimulationPlan, plan_rows
    from atts_harness.simulation.tables import notes, shown_plan, tables

    if out is not None:
        _check_page(out)
    if price is not None and not 0 <= price < math.inf:
        raise SettingError(f"--price {price:g}: expected dollars a GPU and hour, such as 2.5")
    if task is not None and trace is None:
        raise SettingError(f"--task {task}: it names a task of a trace; give --trace, too")
    gpu, count = gpus_of(gpus, gpu_file)
    if split is not None:
        raise SettingError(
            f"--split: is --gpu-split here (--gpu-split {split}); --split is a data set's, of "
            "`atts calibrate`"
        )
    at, measured = _split(gpu_split, count), role_costs(cost or [])
    figures: list[Figure] = []
    if plan_file is not None:
        _only_a_file(pair, draft, target, strategy, sweep, set_)
        ground = Ground(
            gpu, count, at, price, measured, search=search, problems=problems, kernels=kernels
        )
        remarks, made, further = _of_file(plan_file, ground, trace, task)
        rows = shown_rows(made)
        if out is not None:
            from atts_harness.simulation.timeline import timelines

            figures = timelines(made.values())
    else:
        models = _models(pair, draft, target)
        plan = SimulationPlan(
            draft=models[0],
            target=models[1],
            gpu=gpu,
            devices=count,
            trace=_trace(trace, task, problems),
            split=at,
            settings=_settings(set_ or ()),
            price=price,
            problems=problems,
            measured=measured,
            search=search,
            kernels=kernels,
        )
        rows = plan_rows(plan, strategy or ["atts"], _sweep(sweep or ()))
        remarks, further = shown_plan(plan), []
        if out is not None:
            from atts_harness.simulation.timeline import timeline

            figures = [timeline(plan, rows)]
    if out is not None:
        from atts_harness.simulation.page import write_plan

        write_plan(remarks, rows, further, out, figures)
        typer.echo(f"written: {out}", err=True)
    if json:
        data = msgspec.json.format(msgspec.json.encode(rows), indent=2)
        sys.stdout.write(data.decode() + "\n")
        return
    console = terminal.console()
    for table in tables(remarks, rows):
        console.print(terminal.FittedTable(table))
    for line in [*notes(remarks, rows), *further]:
        console.print(line, highlight=False, markup=False)


def _check_page(out: Path) -> None:
    """See whether the page can be written, before anything is simulated."""
    from atts_harness.errors import MissingExtraError, SettingError

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("--out", "report", "matplotlib")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise SettingError(f"--out {out}: give a file in a folder that is there")
    try:
        is_new = not out.exists()
        out.open("ab").close()
        if is_new:
            out.unlink()
    except OSError as error:
        raise SettingError(f"--out {out}: cannot be written: {error.strerror}") from error


def _only_a_file(*options: object) -> None:
    from atts_harness.errors import SettingError

    names = ("pair", "draft", "target", "strategy", "sweep", "set")
    for name, value in zip(names, options, strict=True):
        if value:
            raise SettingError(f"--{name}: the plan file says it; change the file, or leave it out")


def _of_file(
    file: str, ground: Ground, trace: Path | None, task: str | None
) -> tuple[TableRemarks, Mapping[str, CellRow], list[str]]:
    """The rows of a plan of `atts compare` by cell, what stands above them, and further lines."""
    from atts_harness import plugins
    from atts_harness.comparing.cells import expand
    from atts_harness.comparing.plan import read_plan
    from atts_harness.comparing.sizes import sizes_of
    from atts_harness.comparing.tasks import check_tasks
    from atts_harness.simulation.cells import cell_notes, cell_rows, shown_cells

    read = read_plan(file)
    cells = expand(read, installed=False)
    framework = plugins.framework(read.plan.framework)
    check_tasks(read, framework)
    sizes = sizes_of(cells, read.plan, framework)
    traces: dict[tuple[str | None, int | None], RunTrace] = {}

    def trace_of(cell: Cell, problems: int) -> RunTrace:
        # A run holds its tasks by name; a published file is of whatever it is said to be of.
        named = task or (cell.task.task if trace is not None and trace.is_dir() else None)
        key = (named, problems if trace is None else None)
        if key not in traces:
            traces[key] = _trace(trace, named, problems)
        return traces[key]

    rows = cell_rows(cells, sizes, ground, trace_of)
    remarks = shown_cells(read.plan.name, ground, list(traces.values()))
    return remarks, rows, cell_notes(cells, sizes, rows)


def _models(pair: str | None, draft: str | None, target: str | None) -> tuple[str, str]:
    from atts_harness import plugins
    from atts_harness.errors import SettingError

    presets = {name: entry.value.settings for name, entry in plugins.presets().items()}
    pairs = [name for name, settings in presets.items() if {"draft", "target"} <= {*settings}]
    if pair is not None and pair not in pairs:
        raise SettingError(
            f"--pair {pair}: not a preset that names two models; there are {', '.join(pairs)}"
        )
    preset: Mapping[str, object] = presets[pair] if pair else {}
    models = (draft or preset.get("draft"), target or preset.get("target"))
    if not all(models):
        raise SettingError(
            "--pair: give a preset of a pair, or both --draft and --target, or a plan file of "
            "`atts compare`"
        )
    return str(models[0]), str(models[1])


def _split(text: str | None, count: int) -> tuple[int, int] | None:
    from atts_harness.errors import SettingError

    if text is None:
        return None
    parts = text.split("+")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) >= 1 for part in parts):
        raise SettingError(f"--gpu-split {text}: expected GPUs of draft and target, such as 1+2")
    split = int(parts[0]), int(parts[1])
    if sum(split) > count:
        raise SettingError(f"--gpu-split {text}: needs {sum(split)} GPUs, --gpus has {count}")
    return split


def _settings(texts: Sequence[str]) -> dict[str, str]:
    from atts_harness.errors import SettingError

    settings: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals or not name:
                raise SettingError(f"--set {text}: expected NAME=VALUE")
            name = name.strip()
            if name == "repeats":
                raise SettingError(f"--set repeats: give it as --sweep repeats={value}")
            _check_name(name, "--set", settings)
            settings[name] = _value(value)
    return settings


def _check_name(name: str, option: str, given: Container[str]) -> None:
    """Refuse a setting that a plan would not heed, or that was given before."""
    from atts_harness.errors import SettingError
    from atts_harness.simulation.plans import WITHOUT_EFFECT

    if name in given:
        raise SettingError(f"{option} {name}: is given twice")
    if name in NAMED_BY_OPTIONS:
        raise SettingError(f"{option} {name}: give it as --{name}")
    if name in WITHOUT_EFFECT:
        raise SettingError(
            f"{option} {name}: a plan runs nothing, so it says nothing; leave it out"
        )


def _value(text: str) -> str:
    """A value as settings read it; `.2` is a number."""
    text = text.strip()
    return f"0{text}" if text.startswith(".") else text


def _sweep(texts: Sequence[str]) -> dict[str, list[str]]:
    from atts_harness.errors import SettingError

    sweep: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name:
            raise SettingError(f"--sweep {text}: expected NAME=VALUE,VALUE")
        name = name.strip()
        _check_name(name, "--sweep", sweep)
        sweep[name] = [_value(value) for value in values.split(",") if value.strip()]
    return sweep


def _trace(path: Path | None, task: str | None, problems: int | None) -> RunTrace:
    from atts_harness.simulation.published import published_trace
    from atts_harness.simulation.reading import read_trace

    if path is None:
        return published_trace(problems or 30)
    recorded = read_trace(path, task)
    recorded.require_decisions(path)
    return recorded
