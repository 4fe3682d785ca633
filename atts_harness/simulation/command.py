"""`atts plan`: time, memory and money of a comparison before anything is rented."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness import terminal
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from rich.table import Table

    from atts_harness.simulation.plans import Plan, PlanRow
    from atts_harness.simulation.traces import Trace


def plan_command(app: typer.Typer) -> None:
    """Add `atts plan`."""
    app.command(
        "plan",
        rich_help_panel=Stage.PREPARE,
        epilog="Example: atts plan --pair r1-llama-8b-qwq-32b --gpus h100:3 --sweep repeats=1,16",
    )(show_plan)


def show_plan(
    gpus: Annotated[str, typer.Option(help="GPUs, as NAME:COUNT, such as h100:3")],
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
    split: Annotated[
        str | None, typer.Option(help="GPUs of draft and target, such as 1+2; default: the best")
    ] = None,
    problems: Annotated[int | None, typer.Option(help="questions; default: the trace's")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="further settings, as in --model_args")
    ] = None,
    price: Annotated[float | None, typer.Option(help="dollars a GPU and hour")] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="measured costs of an engine, ROLE=FILE, by `atts measure`"),
    ] = None,
    gpu_file: Annotated[Path | None, typer.Option(help="further GPUs, as YAML")] = None,
    json: Annotated[bool, typer.Option("--json", help="plain data instead of a table")] = False,
) -> None:
    """How long a run would take on some GPUs, what bounds it, and what it would cost."""
    import msgspec

    from atts_harness.simulation.costfile import role_costs
    from atts_harness.simulation.costs import gpu_of
    from atts_harness.simulation.plans import Plan, plan_rows

    name, count = _gpus(gpus)
    models = _models(pair, draft, target)
    plan = Plan(
        draft=models[0],
        target=models[1],
        gpu=gpu_of(name, gpu_file),
        devices=count,
        trace=_trace(trace, task, problems),
        split=_split(split, count),
        settings=_settings(set_ or ()),
        price=price,
        problems=problems,
        measured=role_costs(cost or []),
    )
    rows = plan_rows(plan, strategy or ["atts"], _sweep(sweep or ()))
    if json:
        data = msgspec.json.format(msgspec.json.encode(rows), indent=2)
        sys.stdout.write(data.decode() + "\n")
        return
    console = terminal.console()
    for table in _tables(plan, rows):
        console.print(table)
    for line in _notes(plan, rows):
        console.print(line, highlight=False, markup=False)


def _gpus(text: str) -> tuple[str, int]:
    from atts_harness.errors import SettingError

    name, colon, count = text.partition(":")
    if not name or (colon and not (count.isdecimal() and int(count) >= 1)):
        raise SettingError(f"--gpus {text}: expected NAME:COUNT, such as h100:3")
    return name, int(count) if colon else 1


def _models(pair: str | None, draft: str | None, target: str | None) -> tuple[str, str]:
    from atts_harness.errors import SettingError
    from atts_harness.presets import preset_settings

    settings = preset_settings({"preset": pair}) if pair else {}
    models = (draft or settings.get("draft"), target or settings.get("target"))
    if not all(models):
        raise SettingError("--pair: give a preset of a pair, or both --draft and --target")
    return str(models[0]), str(models[1])


def _split(text: str | None, count: int) -> tuple[int, int] | None:
    from atts_harness.errors import SettingError

    if text is None:
        return None
    parts = text.split("+")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) >= 1 for part in parts):
        raise SettingError(f"--split {text}: expected GPUs of draft and target, such as 1+2")
    split = int(parts[0]), int(parts[1])
    if sum(split) > count:
        raise SettingError(f"--split {text}: needs {sum(split)} GPUs, --gpus has {count}")
    return split


def _settings(texts: Sequence[str]) -> dict[str, str]:
    from atts_harness.errors import SettingError

    found = {}
    for text in texts:
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals or not name:
                raise SettingError(f"--set {text}: expected NAME=VALUE")
            found[name.strip()] = _value(value)
    return found


def _value(text: str) -> str:
    """A value as settings read it; `.2` is a number."""
    text = text.strip()
    return f"0{text}" if text.startswith(".") else text


def _sweep(texts: Sequence[str]) -> dict[str, list[str]]:
    from atts_harness.errors import SettingError

    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name:
            raise SettingError(f"--sweep {text}: expected NAME=VALUE,VALUE")
        found[name.strip()] = [_value(value) for value in values.split(",") if value.strip()]
    return found


def _trace(path: Path | None, task: str | None, problems: int | None) -> Trace:
    from atts_harness.simulation.published import published_trace
    from atts_harness.simulation.reading import read_trace

    if path is None:
        return published_trace(problems or 30)
    found = read_trace(path, task)
    found.require_decisions(path)
    return found


def _tables(plan: Plan, rows: Sequence[PlanRow]) -> list[Table]:
    """How long, and what it takes: two tables, so that each fits a terminal of 80 columns."""
    names = " + ".join(model.rpartition("/")[2] for model in (plan.draft, plan.target))
    title = f"{names} on {plan.devices} x {plan.gpu.name}, simulated"
    long = _headed(title, ("GPUs", "makespan", "range", "samples/s", "p50", "p95"))
    money = ("$",) if plan.price is not None else ()
    taken = _headed("what it takes", ("GPU h", *money, "takeover", "busy", "KV", "r"))
    for row in rows:
        long.add_row(
            *(row.label, row.split, _clock(row.makespan)),
            *(f"{_clock(row.low)} to {_clock(row.high)}", f"{row.samples_a_second:.2f}"),
            *(_clock(row.p50), _clock(row.p95)),
        )
        taken.add_row(
            row.label,
            f"{row.gpu_hours:.2f}",
            *(() if row.dollars is None else (f"{row.dollars:.2f}",)),
            "" if row.takeover_rate is None else f"{row.takeover_rate:.3f}",
            " / ".join(f"{one.busy:.0%}" for one in row.engines.values()),
            " / ".join(f"{one.kv_peak:.0%}" for one in row.engines.values()),
            f"{row.intensity:.2f}",
        )
    return [long, taken]


def _headed(title: str, headings: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    table.add_column("strategy", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _notes(plan: Plan, rows: Sequence[PlanRow]) -> list[str]:
    notes = [
        f"{role}: costs measured on {known.engine or 'an engine'}, {known.model or 'its model'}."
        for role, known in plan.measured.items()
    ]
    if len(notes) < 2:
        notes.append(
            "Simulated with the built-in roofline; 'range' is over half and twice its overheads."
        )
    notes += [
        "'busy' and 'KV' are by engine: share of the time, and of its KV cache at the peak. "
        "r = T_c / (T_m + T_s).",
        f"Lengths, scores and endings are drawn from {plan.trace.task}"
        + (" (tokens estimated from characters)" if plan.trace.estimated else "")
        + ". What a takeover changes in what follows is not in a trace.",
    ]
    for row in rows:
        if row.failed:
            notes.append(
                f"{row.label}: {row.failed} of {row.samples} samples would FAIL ({row.failure}); "
                "its figures are of a run that lost them."
            )
        if row.bound:
            notes.append(f"{row.label}: bound by the {row.bound}.")
        if row.lower_bound:
            notes.append(
                f"{row.label}: lower bound. {plan.trace.repeats} recorded samples a question "
                "cannot tell how long the longest of more of them is."
            )
        if row.order_flips:
            others = ", ".join(row.order_flips)
            notes.append(f"{row.label}: whether it is quicker than {others} is not known.")
    return notes
