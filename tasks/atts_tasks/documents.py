"""The documents of a task by its name, as `atts regrade` needs them for a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atts_harness import plugins
from atts_harness.errors import SettingError


def of_task(name: str) -> Sequence[Mapping[str, Any]]:
    """A task's documents, in lm-eval's order; a target is put beside foreign documents.

    Args:
        name: of one of the installed plugins' tasks, or of lm-eval's own.

    Raises:
        SettingError: no such task, or its data cannot be loaded.
    """
    from lm_eval.tasks import TaskManager

    folders = [str(entry.value) for entry in plugins.task_dirs().values()]
    # Our own folders are read in a moment, lm-eval's thousands of files in many seconds.
    for defaults in (False, True):
        manager = TaskManager(include_path=folders, include_defaults=defaults)
        if name in manager.all_subtasks:
            task = manager.load([name])["tasks"][name]
            return [_with_target(doc, task) for doc in task.eval_docs]
    raise SettingError(f"{name}: no such task is installed, so its golds are not known")


def _with_target(doc: Mapping[str, Any], task: Any) -> Mapping[str, Any]:
    return doc if "gold" in doc else {**doc, "answer": task.doc_to_target(doc)}
