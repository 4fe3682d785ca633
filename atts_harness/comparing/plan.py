"""What a plan file says: tasks, strategies, pairs and operating points, as typed structs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from atts_harness import plugins
from atts_harness.comparing.source import Place, PlanSource, read_yaml
from atts_harness.errors import SettingError, UnknownSettingError

Count = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
UNTIMED = 4
VERSION = 1
"""Version of the format of plan files. It grows when a key changes its meaning or is removed."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")


class Calibrate(msgspec.Struct, frozen=True, kw_only=True):
    """How a cell's bank is made before it runs, by `atts calibrate`.

    Attributes:
        questions: at most so many.
        repeats: samples a question; by default the task's.
        turns: score the first so many turns; 1 costs no takeovers. None: all.
        split: another split of the task's data set.
        evaluation_questions: calibrate on the evaluation's own questions, as published.
        metadata: for the calibration only (such as the split of a generated task).
    """

    questions: Count | None = None
    repeats: Count | None = None
    turns: Count | None = None
    split: str | None = None
    evaluation_questions: bool = False
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class Until(msgspec.Struct, frozen=True, kw_only=True):
    """Repeats are added in rounds until the mean over a cell's problems is precise enough.

    Attributes:
        half_width: of the interval over exactly these problems.
        cap: most repeats of a problem.
        level: nominal coverage of the interval.
    """

    half_width: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    cap: Annotated[int, msgspec.Meta(ge=2)] = 64
    level: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the plan. A field that is left out takes the plan's value.

    Attributes:
        task: as the evaluation framework knows it.
        name: of the task in the names of its cells; the task's own by default.
        limit: the first so many problems; None: all.
        repeats: samples a problem; None: the task's own number.
        num_fewshot: examples in the prompt; None: the task's own number.
        metadata: further values that the task reads (lm-eval's `--metadata`).
        settings: `model_args` of its cells.
    """

    task: Name
    name: Name | None = None
    limit: Count | None = None
    repeats: Count | None = None
    num_fewshot: Annotated[int, msgspec.Meta(ge=0)] | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    settings: dict[str, Any] = msgspec.field(default_factory=dict)


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy of the plan, with its operating points.

    Attributes:
        strategy: as `atts plugins` lists it.
        name: of its rows; the strategy's name by default.
        settings: `model_args` of its cells. `rate_of` may name another row of the plan.
        points: lists of values by setting; their product, or of each mapping of a list.
        calibrate: make a bank first, and rank against it.
    """

    strategy: Name
    name: Name | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    points: list[dict[str, list[Any]]] = msgspec.field(default_factory=lambda: [{}])
    calibrate: Calibrate | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan file.

    Attributes:
        name: title of the comparison; the file's name by default.
        out: its folder; `runs/compare/NAME` by default.
        seed: of the order in which strategies run.
        shuffle: false keeps the order of the file.
        limit: the first so many problems of each task; None: all.
        repeats: samples a problem; None: the tasks' own number.
        settings: `model_args` of every cell.
        pairs: `model_args` by pair: models, backends, devices.
        tasks: what is asked.
        strategies: who answers.
        apply_chat_template: whether prompts are chat messages.
        system_instruction: of every prompt.
        include_path: a folder with further tasks.
        report: write the report when the last cell has ended.
        framework: evaluation framework that runs the tasks; needed only if several are
            installed.
        launcher: where cells run: a launcher's name, or NAME=ADDRESS.
        parallel: cells that run on an engine set at a time, by default one. With more than one,
            each slows the others down, and their times show it.
        timing: false: no times are wanted, so cells of a pair run beside each other (`parallel`,
            by default 4), and the report shows no times.
        times: how often each cell is run for its times, in the same shuffled order as all others;
            rows of the report then have a range of seconds.
        until: add repeats in rounds until a cell's accuracy is precise enough; `repeats` is where
            it begins.
        version: of the format; a file that names none is of version 1.
    """

    name: str
    out: str
    seed: int = 1
    shuffle: bool = True
    limit: Count | None = None
    repeats: Count | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    pairs: dict[str, dict[str, Any]]
    tasks: list[Task]
    strategies: list[PlanEntry]
    apply_chat_template: bool = True
    system_instruction: str | None = None
    include_path: str | None = None
    report: bool = True
    framework: Name | None = None
    launcher: Name = "local"
    parallel: Count | None = None
    timing: bool = True
    times: Count = 1
    until: Until | None = None
    version: Count = 1

    @property
    def launcher_name(self) -> str:
        """The name of the launcher."""
        return self.launcher.partition("=")[0]

    @property
    def address(self) -> str:
        """The address behind the launcher's name; "" if there is none."""
        return self.launcher.partition("=")[2]

    @property
    def beside(self) -> int:
        """How many cells run on an engine set at a time."""
        return self.parallel or (1 if self.timing else UNTIMED)


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a plan file that is read first: its version decides how to read the others."""

    version: Count = 1


@dataclass(frozen=True)
class PlanFile:
    """A plan, and the line of each of its keys."""

    plan: Plan
    source: PlanSource


def read_plan(
    name: str,
    *,
    pairs: Sequence[str] = (),
    model_args: Mapping[str, Any] | None = None,
    launcher: str | None = None,
) -> PlanFile:
    """Read a plan.

    Args:
        name: path of a file, or name of a plan that an installed package brings.
        pairs: presets to use in place of the plan's pairs.
        model_args: settings on top of every pair's.
        launcher: in place of the plan's.

    Raises:
        SettingError: one line that names file, line, key and remedy.
    """
    source = read_yaml(*_find(name))
    if not isinstance(source.data, dict):
        keys = ", ".join(Plan.__struct_fields__)
        raise source.error((), f"a plan is a mapping with the keys {keys}")
    data: dict[str, Any] = source.data
    _check_version(source, data)
    plan_name = _title(source, data, Path(name).stem)
    named_pairs: Any = list(pairs) or data.get("pairs")
    converted: dict[str, Any] = {
        "name": plan_name,
        "out": str(data.get("out") or Path("runs", "compare", _slug(plan_name))),
        "pairs": {n: {**s, **(model_args or {})} for n, s in _pairs(source, named_pairs).items()},
    }
    if launcher is not None:
        converted["launcher"] = launcher
    for key, read in (("tasks", _task), ("strategies", _entry)):
        if key in data:
            converted[key] = [read(source, p, item) for p, item in source.items((key,), data[key])]
    return PlanFile(source.struct(Plan, (), data, **converted), source)


def _title(source: PlanSource, data: Mapping[str, Any], file: str) -> str:
    """The plan's title: the file's name unless it has one of its own."""
    if "name" not in data:
        return file
    title = data["name"]
    if (
        isinstance(title, bool)
        or not isinstance(title, (str, int, float))
        or not str(title).strip()
    ):
        raise source.error(
            ("name",), f"name: is not a title (got {title!r}); write one, or leave the key out"
        )
    return str(title)


def _check_version(source: PlanSource, data: Mapping[str, Any]) -> None:
    """Refuse a file of a newer version before its keys are read: they may be unknown here."""
    head = {key: value for key, value in data.items() if key == "version"}
    version = source.struct(_Version, (), head).version
    if version > VERSION:
        raise source.error(
            ("version",),
            f"version: the plan is of version {version}, and this release reads up to {VERSION}; "
            "install a newer atts-harness",
        )


def shipped() -> dict[str, Path]:
    """The plans that installed packages bring, by name."""
    return {name: entry.value for name, entry in plugins.plans().items()}


def _find(name: str) -> tuple[Path, str]:
    path = Path(name)
    if path.is_dir():
        raise SettingError(f"{name}: is a folder; give the plan's file")
    if path.exists() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path, name
    plans = shipped()
    if name not in plans:
        raise UnknownSettingError(name, plans, source="plan: there is no such file", what="plan")
    return plans[name], name


def _pairs(source: PlanSource, value: Any) -> dict[str, dict[str, Any]]:
    """Settings by pair. A text names a preset; without pairs the default preset is taken."""
    presets = plugins.presets()
    if value is None:
        value = next((name for name, entry in presets.items() if entry.value.default), {})
    if isinstance(value, (str, list)):
        names = [value] if isinstance(value, str) else value
        value = {str(name): str(name) for name in names}
    if not isinstance(value, dict) or not value:
        raise source.error(("pairs",), "pairs: expected settings by name, or names of presets")
    pairs: dict[str, dict[str, Any]] = {}
    for name, settings in value.items():
        place: Place = ("pairs", name)
        _check_name(source, place, str(name))
        if isinstance(settings, str):
            if settings not in presets:
                raise UnknownSettingError(
                    settings, presets, source=source.position(place), what="preset"
                )
            settings = {"preset": settings}
        if not isinstance(settings, dict):
            raise source.error(place, f"{name}: expected settings, or a preset (got {settings!r})")
        pairs[str(name)] = settings
    return pairs


def _task(source: PlanSource, place: Place, item: Any) -> Task:
    values = {"task": item} if isinstance(item, str) else item
    task = source.struct(Task, place, values)
    _check_name(source, (*place, "name"), task.name or task.task)
    return task


def _entry(source: PlanSource, place: Place, item: Any) -> PlanEntry:
    values = {"strategy": item} if isinstance(item, str) else item
    converted: dict[str, Any] = {}
    if isinstance(values, dict):
        if values.get("points") is not None:
            converted["points"] = _points(source, (*place, "points"), values["points"])
        calibrate = values.get("calibrate")
        if isinstance(calibrate, bool):
            converted["calibrate"] = Calibrate() if calibrate else None
        elif calibrate is not None:
            converted["calibrate"] = source.struct(Calibrate, (*place, "calibrate"), calibrate)
    entry = source.struct(PlanEntry, place, values, **converted)
    _check_name(source, (*place, "name"), entry.name or entry.strategy)
    return entry


def _points(source: PlanSource, place: Place, value: Any) -> list[dict[str, list[Any]]]:
    points = []
    for inner, item in source.items(place, value):
        if not isinstance(item, dict) or not item:
            raise source.error(inner, f"points: expected lists of values by setting (got {item!r})")
        values = {str(k): v if isinstance(v, list) else [v] for k, v in item.items()}
        for key, listed in values.items():
            if not listed:
                raise source.error(
                    (*inner, key), f"{key}: has no value, so there is nothing to run"
                )
        points.append(values)
    return points


def _check_name(source: PlanSource, place: Place, name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise source.error(
            place, f"name {name!r}: becomes a folder; use letters, digits and . _ - + = only"
        )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", text).strip("-") or "plan"
