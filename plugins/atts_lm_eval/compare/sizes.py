"""How much a cell asks for: problems, samples and the most tokens, from the task itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atts_harness.settings import DEFAULT_MAX_GEN_TOKS
from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.commands import metadata_of
from atts_lm_eval.compare.plan import Plan
from atts_lm_eval.compare.tasks import manager, needs_defaults


@dataclass(frozen=True)
class Size:
    """What a cell asks for.

    Attributes:
        problems: documents.
        samples: lm-eval's requests: documents x repeats.
        most_tokens: kept tokens if every sample spends its budget.
        calibration: samples of its calibration, 0 without one.
    """

    problems: int
    samples: int
    most_tokens: int
    calibration: int = 0


def sizes_of(cells: Sequence[Cell], plan: Plan) -> dict[str, Size]:
    """By cell what it asks for; loads each task once, which may fetch its data.

    Raises:
        SettingError: a task's data is not there.
    """
    from atts_lm_eval import bridge

    bridge.install()
    defaults = needs_defaults(cells, plan.include_path)
    loaded: dict[str, list[Any]] = {}
    found: dict[str, Size] = {}
    for cell in cells:
        if cell.task_name not in loaded:
            tasks = manager(plan.include_path, defaults=defaults, metadata=metadata_of(cell))
            loaded[cell.task_name] = list(tasks.load(cell.task.task)["tasks"].values())
        found[cell.name] = _size(cell, loaded[cell.task_name])
    return found


def _size(cell: Cell, tasks: Sequence[Any]) -> Size:
    settings = cell.parsed()
    problems = samples = tokens = 0
    for task in tasks:
        count = len(task.eval_docs)
        count = count if cell.task.limit is None else min(count, cell.task.limit)
        repeats = int(task.config.repeats or 1)
        given = dict(task.config.generation_kwargs or {})
        problems += count
        samples += count * repeats
        most = settings.max_tokens(given) if given else DEFAULT_MAX_GEN_TOKS
        tokens += count * repeats * most
    calibration = 0
    if (wanted := cell.calibrate) is not None:
        there = max(len(task.eval_docs) for task in tasks)
        if not wanted.evaluation_questions:
            there -= 0 if wanted.split or wanted.metadata else problems
        elif cell.task.limit is not None:
            there = min(there, cell.task.limit)
        calibration = max(0, min(there, wanted.questions or there))
        calibration *= wanted.repeats or cell.task.repeats or int(tasks[0].config.repeats or 1)
    return Size(problems, samples, tokens, calibration)
