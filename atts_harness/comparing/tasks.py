"""Refuses unknown tasks before anything runs."""

from __future__ import annotations

from atts_harness.comparing.plan import PlanFile
from atts_harness.errors import UnknownSettingError
from atts_harness.framework import EvalFramework


def check_tasks(file: PlanFile, framework: EvalFramework) -> None:
    """Refuse unknown tasks.

    Raises:
        UnknownSettingError: names the nearest.
    """
    names = [task.task for task in file.plan.tasks]
    installed = framework.tasks(names, file.plan.include_path)
    for number, task in enumerate(names):
        if task not in installed:
            prefix = file.source.position(("tasks", number))
            raise UnknownSettingError(task, sorted(installed), source=prefix, what="task")
