"""The cells of a plan: tasks x pairs x strategies x operating points, checked.

Everything that can be wrong with a cell's settings is found here, by the parser that the cell
itself will use, before anything is run.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness import plugins
from atts_harness.comparing.plan import Calibrate, Plan, PlanEntry, PlanFile, Task
from atts_harness.comparing.reaching import backend_of, reaching
from atts_harness.comparing.source import Place, PlanSource
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.framework import Evaluation
from atts_harness.presets import with_presets
from atts_harness.settings import ROLES, RunOptions, Settings, kind_of, parse_settings
from atts_harness.strategy import Strategy

MOST_CELLS = 10_000
LONGEST_NAME = 200
AGAIN = "+time"
"""Suffix, before a number, of the name of a cell that runs again only to measure its times."""
# What `atts compare` itself gives every cell.
OURS = {
    "run_dir": "every cell has a folder of its own below `out`",
    "resume": "the same command resumes; --redo CELL starts one afresh",
    "strategy": "write it as the entry's `strategy`",
}


@dataclass(frozen=True)
class Cell:
    """One evaluation of the comparison.

    Attributes:
        task: with its number of problems and samples, the plan's where it says none.
        pair: name of the pair.
        row: name of the strategy at its operating point.
        strategy: as `atts plugins` lists it.
        point: the settings that the operating point sets.
        settings: `model_args`, without what depends on folders and servers.
        served: the settings of the pair, for servers that the cells of a pair share.
        calibrate: how its bank is made, if it has one.
        needs: the cell whose realised takeover rate it takes.
        place: where its entry stands in the plan.
        timing: 1 for the cell itself; 2, 3, ... for cells that run it again for its times.
        installed: whether the packages of its backends must be installed.
    """

    task: Task
    pair: str
    row: str
    strategy: str
    point: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    served: Mapping[str, Any] = field(default_factory=dict)
    calibrate: Calibrate | None = None
    needs: str | None = None
    place: Place = ()
    timing: int = 1
    installed: bool = True

    @property
    def task_name(self) -> str:
        """What the plan calls the task."""
        return self.task.name or self.task.task

    @property
    def name(self) -> str:
        """Its name, and its folder below `cells`."""
        again = f"{AGAIN}{self.timing}" if self.timing > 1 else ""
        return f"{self.task_name}/{self.pair}/{self.row}{again}"

    @property
    def times_of(self) -> str | None:
        """Name of the cell that this one repeats; None: it repeats none."""
        return None if self.timing == 1 else self.name.removesuffix(f"{AGAIN}{self.timing}")

    @property
    def metadata(self) -> dict[str, Any]:
        """The task's `--metadata`, with the number of samples."""
        metadata = dict(self.task.metadata)
        if self.task.repeats is not None:
            metadata["repeats"] = self.task.repeats
        return metadata

    def with_repeats(self, repeats: int) -> Cell:
        """The same cell with another number of samples a problem."""
        return replace(self, task=msgspec.structs.replace(self.task, repeats=repeats))

    def evaluation(self, plan: Plan, further: Mapping[str, Any] | None = None) -> Evaluation:
        """What its evaluation framework is asked to run.

        Args:
            plan: what holds for every cell.
            further: settings that depend on where things are: servers, bank, rate.
        """
        return Evaluation(
            task=self.task.task,
            strategy=self.strategy,
            settings=reaching(self.strategy, self.settings, further or {}),
            limit=self.task.limit,
            num_fewshot=self.task.num_fewshot,
            metadata=self.metadata,
            apply_chat_template=plan.apply_chat_template,
            system_instruction=plan.system_instruction,
            include_path=plan.include_path,
        )

    @property
    def kind(self) -> type[Strategy]:
        """The strategy's class, wrapped around an inner strategy if the settings name one."""
        return kind_of(self.strategy, self.settings)

    def parsed(self, **further: Any) -> Settings:
        """Its settings, checked as the run itself will check them."""
        values = {**self.settings, **further, "strategy": self.strategy}
        if self.needs is not None:
            values["rate_of"] = self.needs
        if self.calibrate is not None:
            values["bank"] = "bank.json"
        settings = parse_settings(values, installed=self.installed)
        # Options may exclude each other; the run itself would say so only after its start.
        settings.options().checked()
        return settings


def expand(file: PlanFile, *, installed: bool = True) -> list[Cell]:
    """Every cell of a plan, in the order of the file.

    Args:
        file: the plan.
        installed: whether the backends' packages must be installed, as they must to run anything.

    Raises:
        SettingError: one line that names file, line, key and remedy.
    """
    plan, source = file.plan, file.source
    with plugins.cached_answers():
        _check_layers(plan, source)
        _check_number(plan, source)
        rows = [row for n, entry in enumerate(plan.strategies) for row in _rows(source, n, entry)]
        _check_names(source, [(row.row, row.place) for row in rows])
        tasks = [_with_plan(plan, task) for task in plan.tasks]
        names: list[tuple[str, Place]] = [
            (task.name or task.task, ("tasks", n)) for n, task in enumerate(tasks)
        ]
        _check_names(source, names)
        cells = []
        for task, (pair, pair_settings), row in itertools.product(tasks, plan.pairs.items(), rows):
            cell = _cell(plan, source, task, pair, pair_settings, row)
            cells.append(replace(cell, installed=installed))
        for cell in cells:
            _check(cell, source)
    again = [replace(cell, timing=n) for n in range(2, plan.times + 1) for cell in cells]
    beside: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        beside.setdefault((cell.task_name, cell.pair), {})[cell.row] = cell
    return [_needing(cell, beside[cell.task_name, cell.pair], source) for cell in (*cells, *again)]


def _check_number(plan: Plan, source: PlanSource) -> None:
    """Refuse a plan with too many cells, before they are listed."""
    rows = sum(
        math.prod(len(values) for values in point.values())
        for entry in plan.strategies
        for point in entry.points
    )
    cells = rows * len(plan.tasks) * len(plan.pairs)
    if cells > MOST_CELLS:
        raise source.error(
            ("strategies",),
            f"strategies: {len(plan.tasks)} tasks x {len(plan.pairs)} pairs x {rows} rows are "
            f"{cells} cells; at most {MOST_CELLS} can be planned",
        )


@dataclass(frozen=True)
class _Row:
    row: str
    entry: PlanEntry
    point: Mapping[str, Any]
    place: Place


def _rows(source: PlanSource, number: int, entry: PlanEntry) -> Iterator[_Row]:
    place: Place = ("strategies", number)
    strategies = plugins.strategies()
    if entry.strategy not in strategies:
        prefix = source.position((*place, "strategy"))
        raise UnknownSettingError(entry.strategy, strategies, source=prefix, what="strategy")
    for values in entry.points:
        for choice in itertools.product(*values.values()):
            point = dict(zip(values, choice, strict=True))
            yield _Row(_row_name(entry, point), entry, point, place)


def _row_name(entry: PlanEntry, point: Mapping[str, Any]) -> str:
    parts = [entry.name or entry.strategy]
    for key, value in point.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        parts.append(f"{key}={re.sub(r'[^A-Za-z0-9._+=-]+', '-', text)}")
    return "-".join(parts)


def _with_plan(plan: Plan, task: Task) -> Task:
    return msgspec.structs.replace(
        task,
        limit=task.limit if task.limit is not None else plan.limit,
        repeats=task.repeats if task.repeats is not None else plan.repeats,
    )


def _check_layers(plan: Plan, source: PlanSource) -> None:
    """Refuse settings that a plan must not set, in any of its layers."""
    layers: list[tuple[Place, Mapping[str, Any]]] = [(("settings",), plan.settings)]
    layers += [(("pairs", pair), pair_settings) for pair, pair_settings in plan.pairs.items()]
    layers += [(("tasks", n, "settings"), t.settings) for n, t in enumerate(plan.tasks)]
    for n, entry in enumerate(plan.strategies):
        layers.append((("strategies", n, "settings"), entry.settings))
        layers += [(("strategies", n, "points"), point) for point in entry.points]
    for place, settings in layers:
        for key in settings:
            if key in OURS:
                raise source.error((*place, key), f"{key}: {OURS[key]}")
    for n, task in enumerate(plan.tasks):
        if "repeats" in task.metadata:
            place = ("tasks", n, "metadata", "repeats")
            raise source.error(place, "repeats: write it as the task's `repeats`")
    if plan.include_path is not None and not Path(plan.include_path).is_dir():
        place = ("include_path",)
        raise source.error(place, f"include_path: there is no folder {plan.include_path!r}")


def _check_names(source: PlanSource, named: Sequence[tuple[str, Place]]) -> None:
    places: dict[str, Place] = {}
    for name, place in named:
        if len(name) > LONGEST_NAME:
            raise source.error(
                place, f"{name[:60]}... becomes a folder and is too long; give it a `name`"
            )
        if name in places:
            before = source.position(places[name]).rpartition(", ")[2]
            raise source.error(
                place, f"two are called {name!r} (the other: {before}); give one a `name`"
            )
        places[name] = place


def _cell(
    plan: Plan,
    source: PlanSource,
    task: Task,
    pair: str,
    pair_settings: Mapping[str, Any],
    row: _Row,
) -> Cell:
    entry = row.entry
    layers = [plan.settings, pair_settings, task.settings, entry.settings, row.point]
    merged = {key: value for layer in layers for key, value in layer.items()}
    presets = dict.fromkeys(str(layer["preset"]) for layer in layers if layer.get("preset"))
    if presets:
        merged["preset"] = "+".join(presets)
    try:
        idle = _idle(merged, entry.strategy)
    except SettingError as error:
        raise _located(error, source, row.place) from error
    mine = {*entry.settings, *row.point}
    if "rate_of" in mine:
        idle.add("rate")  # it takes its place
    return Cell(
        task=task,
        pair=pair,
        row=row.row,
        strategy=entry.strategy,
        point=row.point,
        settings={k: v for k, v in merged.items() if k in mine or k not in idle},
        served=_servable({**plan.settings, **pair_settings, "preset": merged.get("preset")}),
        calibrate=entry.calibrate,
        place=row.place,
    )


def _idle(settings: Mapping[str, Any], strategy: str) -> set[str]:
    """Settings of the plan that only other strategies use.

    A pair's settings are for both roles, and a plan's for every strategy. A setting that no
    strategy has is not among these, so that the parser refuses it and names the nearest.
    """
    kinds = {role: backend_of(settings, role) for role in ROLES}
    strategy_kind = kind_of(strategy, settings)
    used = {*RunOptions.__struct_fields__, *strategy_kind.Options.__struct_fields__}
    possible = {n for s in plugins.strategies().values() for n in s.value.Options.__struct_fields__}
    for role, kind in kinds.items():
        names = {n for f in kind.options.__struct_fields__ for n in (f, f"{role}_{f}")}
        possible |= names
        if role in strategy_kind.roles:
            used |= names
    return (possible & settings.keys()) - used


def _servable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a pair that decide which servers it needs."""
    values = with_presets(settings)
    names = {"draft", "target", "backend", "draft_backend", "target_backend"}
    for role in ROLES:
        fields = backend_of(settings, role).options.__struct_fields__
        names |= {name for field in fields for name in (field, f"{role}_{field}")}
    return {key: value for key, value in values.items() if key in names and value is not None}


def _check(cell: Cell, source: PlanSource) -> None:
    """Refuse settings that the cell itself would refuse."""
    if cell.calibrate is not None:
        _check_calibrate(cell, source)
    try:
        cell.parsed()
    except SettingError as error:
        raise _located(error, source, cell.place, cell) from error


def _located(
    error: SettingError, source: PlanSource, place: Place, cell: Cell | None = None
) -> SettingError:
    """An error of the settings parser, with the plan's line that has the setting it names."""
    named = error.name if isinstance(error, UnknownSettingError) else str(error)
    match = re.match(r"\w+", named)
    setting = match[0] if match else ""
    layers: list[Place] = [(*place, "points"), (*place, "settings")]
    if cell is not None:
        layers += [("pairs", cell.pair)]
    layers.append(("settings",))
    for start in layers:
        for at in source.lines:
            if at[: len(start)] == start and at[-1] == setting:
                place = at
                break
        else:
            continue
        break
    row = f"{cell.row}: " if cell is not None else ""
    return source.error(place, f"{row}{error}")


def _check_calibrate(cell: Cell, source: PlanSource) -> None:
    place = (*cell.place, "calibrate")
    if "bank" not in cell.kind.Options.__struct_fields__ or set(cell.kind.roles) != set(ROLES):
        raise source.error(
            place, f"{cell.row}: calibrate: strategy {cell.strategy} ranks against no bank; drop it"
        )
    calibrate = cell.calibrate
    assert calibrate is not None
    elsewhere = calibrate.split or calibrate.metadata or calibrate.evaluation_questions
    if cell.task.limit is None and not elsewhere:
        raise source.error(
            place,
            f"{cell.row}: calibrate: the evaluation takes every question of {cell.task_name}; give "
            "a limit, or the calibration a split, metadata or evaluation_questions",
        )
    for name in ("bank", "calibration"):
        if name in cell.settings:
            raise source.error(
                place, f"{cell.row}: `calibrate` makes the bank: drop {name} from the settings"
            )


def _needing(cell: Cell, beside: Mapping[str, Cell], source: PlanSource) -> Cell:
    """The cell, with the row that `rate_of` names replaced by that row's cell.

    Args:
        cell: the cell.
        beside: the cells of its task and pair, by row.
        source: the plan, for messages.
    """
    named = cell.settings.get("rate_of")
    if named is None or (str(named) not in beside and Path(str(named)).exists()):
        return cell
    place = (*cell.place, "settings", "rate_of")
    if str(named) not in beside:
        prefix = "rate_of: neither a row nor a path"
        error = UnknownSettingError(str(named), beside, source=prefix, what="row")
        raise source.error(place, f"{cell.row}: {error}")
    other = beside[str(named)]
    if "rate_of" in other.settings or other.row == cell.row:
        raise source.error(
            place, f"{cell.row}: rate_of: {other.row} takes its own rate from another row"
        )
    settings = {key: value for key, value in cell.settings.items() if key != "rate_of"}
    return replace(cell, settings=settings, needs=other.name)
