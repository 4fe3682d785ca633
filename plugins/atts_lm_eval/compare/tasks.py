"""lm-eval's tasks, as far as a plan needs them before its cells run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atts_harness import plugins
from atts_harness.errors import UnknownSettingError
from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.plan import PlanFile

# Task files hold tags that YAML readers do not know, so they are not parsed here.
_NAMED = re.compile(r"^(?:task|group|tag):[ \t]*([\w.+-]+)[ \t]*$", re.MULTILINE)


def check_tasks(file: PlanFile) -> None:
    """Refuse tasks that nobody has.

    lm-eval's own index takes seconds to read; it is asked only for names that are not among the
    installed plugins' and the plan's own.

    Raises:
        UnknownSettingError: names the nearest.
    """
    own = set(_plugin_tasks(file.plan.include_path))
    missing = [n for n, task in enumerate(file.plan.tasks) if task.task not in own]
    if not missing:
        return
    known = set(manager(file.plan.include_path, defaults=True).all_tasks)
    for number in missing:
        task = file.plan.tasks[number].task
        if task not in known:
            where = f"{file.source.where(('tasks', number))}: task"
            raise UnknownSettingError(task, sorted(known), where=where)


def manager(include_path: str | None, *, defaults: bool, metadata: Any = None) -> Any:
    """lm-eval's task manager with the tasks of installed plugins.

    Args:
        include_path: a further folder.
        defaults: with lm-eval's own tasks, which takes seconds.
        metadata: as lm-eval's `--metadata`.
    """
    from lm_eval.tasks import TaskManager

    folders = [str(folder) for folder in _folders(include_path)]
    return TaskManager(include_path=folders, include_defaults=defaults, metadata=metadata or {})


def needs_defaults(cells: Sequence[Cell], include_path: str | None) -> bool:
    """Whether any of the cells' tasks is one of lm-eval's own."""
    own = set(_plugin_tasks(include_path))
    return any(cell.task.task not in own for cell in cells)


def _plugin_tasks(include_path: str | None) -> Iterator[str]:
    for folder in _folders(include_path):
        for path in folder.rglob("*.yaml"):
            yield from _NAMED.findall(path.read_text(encoding="utf-8", errors="replace"))


def _folders(include_path: str | None) -> list[Path]:
    found = [entry.value for entry in plugins.task_dirs().values()]
    return found if include_path is None else [*found, Path(include_path)]
