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
    wanted = [task.task for task in file.plan.tasks]
    known = framework.tasks(wanted, file.plan.include_path)
    for number, task in enumerate(wanted):
        if task not in known:
            where = f"{file.source.where(('tasks', number))}: task"
            raise UnknownSettingError(task, sorted(known), where=where)
