"""The cells of a plan file of `atts compare`, in simulated time.

    rows = cell_rows(cells, sizes, Ground(gpu_of("h100"), 3))

A cell keeps its strategy, limits, budget, problems and repeats. Its backends give way to simulated
ones. A bank is made of real models' scores, so a cell that has one ranks online here, and one that
takes another cell's rate takes its nominal one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from atts_harness.backend import Role
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.probe import WITHOUT_BANK
from atts_harness.comparing.sizes import Size
from atts_harness.errors import SettingError
from atts_harness.presets import with_presets
from atts_harness.settings import ROLES, RunOptions
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.costs import GPU
from atts_harness.simulation.plans import (
    REPEATS,
    WITHOUT_EFFECT,
    SimulationPlan,
    check_row,
    plan_row,
)
from atts_harness.simulation.progress import SimulationProgress, show_simulation
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.rows import PlanRow, with_flips
from atts_harness.simulation.simulations import Simulations
from atts_harness.simulation.tables import TableRemarks, clock, notes, tables
from atts_harness.simulation.traces import RunTrace

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    *("CellRow", "Ground", "cell_notes", "cell_rows", "planned", "ranked_online", "shown_cells"),
    "shown_rows",
]

DRY_SAMPLES = 512
"""Samples of a cell that a dry run simulates at most: a few seconds a cell."""
COMPARED = 128
"""Samples of a cell on which splits and the ends of the range are compared. On the published pair
128, 256 and 512 samples have the same best split, and a range whose ends differ by less than a
tenth of the makespan."""

NOT_SIMULATED = WITHOUT_EFFECT | {"strategy", "preset", "draft", "target", "bank", "rate_of"}
"""Settings of a cell that a simulation does without, or takes from elsewhere."""


@dataclass(frozen=True)
class Ground:
    """What all cells have in common.

    Attributes:
        gpu: the device.
        devices: GPUs in all.
        split: GPUs of draft and target; None: as the pair's `draft_devices` and `target_devices`
            say, else every split is tried.
        price: dollars per GPU hour.
        measured: costs by role, in place of the roofline's.
        most_samples: samples of a cell that are simulated at most, whole questions; None: all.
        search: whether the best limits are searched for.
        problems: questions of a cell at most; None: as many as it has.
        kernels: whether steps cost what measured kernel tables say.
    """

    gpu: GPU
    devices: int
    split: tuple[int, int] | None = None
    price: float | None = None
    measured: Mapping[Role, EngineCosts] = field(default_factory=dict)
    most_samples: int | None = None
    search: bool = False
    problems: int | None = None
    kernels: bool = False


@dataclass(frozen=True)
class CellRow:
    """A cell in simulated time.

    Attributes:
        cell: of the comparison.
        plan: what it runs on, and what it is told.
        row: of its strategy; its point is the number of samples a question.
    """

    cell: Cell
    plan: SimulationPlan
    row: PlanRow


def cell_rows(
    cells: Sequence[Cell],
    sizes: Mapping[str, Size],
    ground: Ground,
    trace_of: Callable[[Cell, int], RunTrace],
) -> dict[str, CellRow]:
    """A row for each cell, by the cell's name; cells that run again for their times have none.

    Cells that ask the same of the same models are simulated once.

    Args:
        cells: of the plan.
        sizes: what each asks for.
        ground: what they run on.
        trace_of: what the models write in a cell of so many questions; or a recorded trace, which
            may have more.

    Raises:
        SettingError: models that do not fit or have no known shape, or a setting that cannot be
            used.
    """
    asked: list[tuple[Cell, SimulationPlan, dict[str, str]]] = []
    for cell in cells:
        if cell.timing > 1:
            continue
        size = sizes[cell.name]
        repeats = max(1, size.samples // size.problems)
        try:
            plan = _plan(cell, cells, size, ground, trace_of, repeats)
            asked.append((cell, plan, {REPEATS: str(repeats)}))
            check_row(plan, cell.strategy, asked[-1][2])
        except SettingError as error:
            raise SettingError(f"{cell.name}: {error}") from error
    rows: dict[str, CellRow] = {}
    progress = SimulationProgress(len(asked))
    simulations = Simulations(progress)
    with show_simulation(progress):
        for cell, plan, point in asked:
            progress.begin_row(cell.name)
            rows[cell.name] = CellRow(cell, plan, plan_row(plan, cell.strategy, point, simulations))
    return rows


def shown_rows(rows: Mapping[str, CellRow]) -> list[PlanRow]:
    """The rows under their cells' names; those of one task are compared."""
    named = {
        name: msgspec.structs.replace(cell_row.row, strategy=name, point={})
        for name, cell_row in rows.items()
    }
    task = {name: cell_row.cell.task_name for name, cell_row in rows.items()}
    return [
        with_flips(row, [other for at, other in named.items() if task[at] == task[name]])
        for name, row in named.items()
    ]


def ranked_online(cell: Cell) -> bool:
    """Whether a cell has a bank, which a simulation does without."""
    return cell.calibrate is not None or "bank" in with_presets(cell.settings)


def shown_cells(name: str, ground: Ground, traces: Sequence[RunTrace]) -> TableRemarks:
    """What to say above and below the rows of a plan file."""
    return TableRemarks(
        models=name,
        devices=ground.devices,
        gpu=ground.gpu.name,
        trace=" and ".join(dict.fromkeys(trace.task for trace in traces)) or "nothing",
        repeats=min((trace.repeats for trace in traces), default=0),
        estimated=any(trace.estimated for trace in traces),
        measured={str(role): costs for role, costs in ground.measured.items()},
        kernels=ground.kernels,
    )


def cell_notes(
    cells: Sequence[Cell], sizes: Mapping[str, Size], rows: Mapping[str, CellRow]
) -> list[str]:
    """What a simulation of cells leaves out, a line each."""
    lines = []
    online = [cell.name for cell in cells if cell.name in rows and ranked_online(cell)]
    if online:
        lines.append(
            "A bank is of real models, so these rank online here, and calibrations are not in "
            f"the times: {', '.join(online)}."
        )
    samples = {name: (made.row.samples, sizes[name].samples) for name, made in rows.items()}
    fewer = [
        f"{name} {part:,} of {all_:,}" for name, (part, all_) in samples.items() if part < all_
    ]
    if fewer:
        lines.append(f"Samples simulated, of all that the cell has: {', '.join(fewer)}.")
    if any(made.plan.compared is not None for made in rows.values()):
        lines.append(f"Splits and ranges are compared on about {COMPARED} samples of a cell.")
    again = sum(cell.timing > 1 for cell in cells)
    if again:
        lines.append(f"{again} cells that are run again for their times are not shown.")
    return lines


def planned(
    gpus: tuple[GPU, int], name: str, cells: Sequence[Cell], sizes: Mapping[str, Size]
) -> list[Table | str]:
    """What `atts compare --dry-run` says of the time: tables and lines.

    Args:
        gpus: the device, and how many.
        name: of the plan.
        cells: its cells.
        sizes: what each asks for.

    Raises:
        SettingError: models that do not fit or have no known shape.
    """
    ground = Ground(*gpus, most_samples=DRY_SAMPLES)
    trace_of = functools.cache(published_trace)
    rows = cell_rows(cells, sizes, ground, lambda cell, problems: trace_of(problems))
    whole = [_extrapolated(row, sizes[row.strategy].samples) for row in shown_rows(rows)]
    remarks = shown_cells(name, ground, [trace_of(1)])
    lines = [*notes(remarks, whole), *cell_notes(cells, sizes, rows)]
    if any(made.row.samples < sizes[name].samples for name, made in rows.items()):
        lines.append(
            "Their makespans are in proportion, which may be a fifth off: a run ends once only, "
            "and more samples share its prefix caches. Their p50 and p95 are those of the part. "
            "`atts plan` simulates all samples."
        )
    total = sum(row.makespan for row in whole)
    least = "at least " if any(row.lower_bound for row in whole) else ""
    lines.append(
        f"all cells one after the other: {least}{clock(total)}, and the start of each process"
    )
    return [*tables(remarks, whole), *lines]


def _extrapolated(row: PlanRow, samples: int) -> PlanRow:
    factor = samples / row.samples
    return msgspec.structs.replace(
        row,
        makespan=row.makespan * factor,
        low=row.low * factor,
        high=row.high * factor,
        gpu_hours=row.gpu_hours * factor,
        dollars=None if row.dollars is None else row.dollars * factor,
        splits={name: seconds * factor for name, seconds in row.splits.items()},
    )


def _plan(
    cell: Cell,
    cells: Sequence[Cell],
    size: Size,
    ground: Ground,
    trace_of: Callable[[Cell, int], RunTrace],
    repeats: int,
) -> SimulationPlan:
    cell_settings = with_presets(cell.settings)
    models = {role: cell_settings.get(role) for role in ROLES}
    for role in cell.kind.roles:
        if models[role] is None:
            raise SettingError(f"{role}: the pair {cell.pair} does not name its {role} model")
    problems = min(size.problems, ground.problems or size.problems)
    if ground.most_samples is not None:
        problems = max(1, min(problems, ground.most_samples // repeats))
    plan = SimulationPlan(
        draft=str(models["draft"] or models["target"]),
        target=str(models["target"] or models["draft"]),
        gpu=ground.gpu,
        devices=ground.devices,
        trace=trace_of(cell, problems),
        split=ground.split or _split(cell_settings, cell.kind.roles, ground.devices),
        settings=_settings(cell, cells, size, cell_settings),
        price=ground.price,
        problems=problems,
        measured=ground.measured,
        search=ground.search,
        kernels=ground.kernels,
    )
    count = max(1, COMPARED // repeats)
    if count >= problems:
        return plan
    # Spread over the questions: a recorded trace may be in order of difficulty.
    part = trace_of(cell, count).spread(count, problems)
    return replace(plan, compared=replace(plan, trace=part, problems=count))


def _settings(
    cell: Cell, cells: Sequence[Cell], size: Size, cell_settings: Mapping[str, Any]
) -> dict[str, Any]:
    options = set(cell.kind.Options.__struct_fields__)
    names = ({*RunOptions.__struct_fields__} | options) - NOT_SIMULATED
    settings = {name: value for name, value in cell_settings.items() if name in names}
    settings.setdefault("max_gen_toks", max(1, size.most_tokens // max(1, size.samples)))
    if ranked_online(cell):
        settings |= {name: value for name, value in WITHOUT_BANK.items() if name in options}
    if cell.needs is not None:
        other = next(source for source in cells if source.name == cell.needs)
        rate = with_presets(other.settings).get("rate")
        if rate is not None:
            settings["rate"] = rate
    return settings


def _split(
    cell_settings: Mapping[str, Any], roles: Sequence[Role], devices: int
) -> tuple[int, int] | None:
    """How many GPUs the pair gives to each model, where it says so of all and shares none."""
    named = {role: str(cell_settings.get(f"{role}_devices", "")).split("+") for role in roles}
    if "" in itertools.chain(*named.values()):
        return None
    if len(roles) > 1 and set(named["draft"]) & set(named["target"]):
        return None  # on the same ones; among the splits that are tried
    counts = (len(named.get("draft", [])), len(named.get("target", [])))
    if sum(counts) > devices:
        raise SettingError(
            f"--gpus: the pair asks for {counts[0]} + {counts[1]} GPUs, and {devices} are given"
        )
    return counts
