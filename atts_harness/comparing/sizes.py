"""How much a cell asks for: problems, samples and the most tokens, from the task itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.rounds import first_repeats
from atts_harness.framework import EvalFramework, TaskSize
from atts_harness.settings import DEFAULT_MAX_GEN_TOKS


@dataclass(frozen=True)
class Size:
    """What a cell asks for.

    Attributes:
        problems: documents.
        samples: requests: documents x repeats.
        most_tokens: kept tokens if every sample spends its budget.
        calibration: samples of its calibration, 0 without one.
    """

    problems: int
    samples: int
    most_tokens: int
    calibration: int = 0


def sizes_of(cells: Sequence[Cell], plan: Plan, framework: EvalFramework) -> dict[str, Size]:
    """The size of each cell, by name; loads each task once, which may fetch its data.

    Of a plan with `until` it is the size of the first round.

    Raises:
        SettingError: a task's data is not there.
    """
    tasks: dict[str, Sequence[TaskSize]] = {}
    sizes: dict[str, Size] = {}
    for cell in cells:
        if cell.task_name not in tasks:
            tasks[cell.task_name] = framework.sizes(cell.evaluation(plan))
        first = None if plan.until is None else first_repeats(cell)
        sizes[cell.name] = _size(cell, tasks[cell.task_name], first)
    return sizes


def _size(cell: Cell, tasks: Sequence[TaskSize], repeats: int | None) -> Size:
    settings = cell.parsed()
    problems = samples = tokens = 0
    for task in tasks:
        count = task.documents if cell.task.limit is None else min(task.documents, cell.task.limit)
        problems += count
        requests = count * (repeats or task.repeats)
        samples += requests
        most = settings.max_tokens(task.generation) if task.generation else DEFAULT_MAX_GEN_TOKS
        tokens += requests * most
    return Size(problems, samples, tokens, _calibration(cell, tasks, problems))


def _calibration(cell: Cell, tasks: Sequence[TaskSize], problems: int) -> int:
    """Samples of a cell's calibration."""
    calibrate = cell.calibrate
    if calibrate is None:
        return 0
    available = max(task.documents for task in tasks)
    if not calibrate.evaluation_questions:
        available -= 0 if calibrate.split or calibrate.metadata else problems
    elif cell.task.limit is not None:
        available = min(available, cell.task.limit)
    questions = max(0, min(available, calibrate.questions or available))
    return questions * (calibrate.repeats or cell.task.repeats or tasks[0].repeats)
