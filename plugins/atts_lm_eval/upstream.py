"""Everything that this package takes from inside lm-eval: one place to look when a release changes.

Other modules of this package ask here and import nothing of `lm_eval` themselves. lm-eval is
imported inside the functions, since half of the commands never need it and its import takes
seconds.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

# Modules that the bridge waits for.
MODELS = "lm_eval.models"
TASKS = "lm_eval.tasks.manager"
# lm-eval's command imports this module, `simple_evaluate` does not.
COMMAND_LINE = "lm_eval._cli"
# Task files hold tags that YAML readers do not know, so they are not parsed here.
_NAMED = re.compile(r"^(?:task|group|tag):[ \t]*([\w.+-]+)[ \t]*$", re.MULTILINE)


def model_base() -> Any:
    """The class of lm-eval's models."""
    from lm_eval.api.model import LM

    return LM


def model_registry() -> Any:
    """Where lm-eval keeps its models by name."""
    return importlib.import_module("lm_eval.api.registry").model_registry


def registered_model(name: str) -> Any:
    """The registered model of a name: a class, or `module:attribute` until it is loaded."""
    return model_registry()._objs[name]


def reads_entry_points() -> bool:
    """Whether this lm-eval reads the entry-point group `lm_eval.models` by itself."""
    return hasattr(importlib.import_module("lm_eval.api.registry"), "load_plugins")


def is_command() -> bool:
    """Whether lm-eval's command line was imported by this process."""
    return COMMAND_LINE in sys.modules


def run_command(arguments: Sequence[str]) -> None:
    """Run lm-eval's own command with these arguments."""
    from lm_eval.__main__ import cli_evaluate

    before = sys.argv
    sys.argv = ["lm-eval", *arguments]
    try:
        cli_evaluate()
    finally:
        sys.argv = before


def parse_model_args(text: str) -> dict[str, Any]:
    """`--model_args` as lm-eval reads them: values of `a=1,b=true` have types."""
    from lm_eval.utils import simple_parse_args_string

    arguments: dict[str, Any] = simple_parse_args_string(text)
    return arguments


def evaluate(model: Any, task: Any, **options: Any) -> None:
    """Run a loaded task by `simple_evaluate`, for what the model does; nothing is graded."""
    from lm_eval.evaluator import simple_evaluate

    simple_evaluate(model=model, tasks=[task], predict_only=True, bootstrap_iters=0, **options)


def load_tasks_first() -> None:
    """Load what `simple_evaluate` will load after the model that it is making, if it is making one.

    lm-eval makes the model first and loads tasks and their data afterwards, so a data set that
    cannot be had would be reported only after the engines have started. Only plugins' tasks are
    loaded here; lm-eval's own keep their order.

    Raises:
        SettingError: data that cannot be loaded.
    """
    frame = sys._getframe()
    while frame.f_code.co_name != "simple_evaluate":
        if frame.f_back is None:
            return
        frame = frame.f_back
    tasks = frame.f_locals.get("tasks")
    names = [name for name in tasks or () if isinstance(name, str)]
    ours = tasks_of_plugins()
    names = [name for name in names if name in ours]
    if not names:
        return
    manager = frame.f_locals.get("task_manager")
    if manager is None:
        manager = task_manager(names, metadata=frame.f_locals.get("metadata"))
    manager.load(names)


def rolling_windows(
    ids: Sequence[int], prefix: int, max_length: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(context, scored) pairs that cover a text once, as lm-eval's own models cut it."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    pairs = get_rolling_token_windows(
        token_list=list(ids), prefix_token=prefix, max_seq_len=max_length, context_len=1
    )
    return [(tuple(a), tuple(b)) for a, b in map(make_disjoint_window, pairs)]


def when_requests_are_built(call: Callable[[Any], None]) -> None:
    """Have every task call `call` with itself before it builds its requests; once a process."""
    from lm_eval.api.task import Task

    build: Callable[..., None] = Task.build_all_requests
    if getattr(build, "of_atts", False):
        return

    @wraps(build)
    def build_and_call(self: Any, *args: Any, **kwargs: Any) -> None:
        call(self)
        build(self, *args, **kwargs)

    build_and_call.of_atts = True  # type: ignore[attr-defined]
    Task.build_all_requests = build_and_call


def tasks_of_plugins(include_path: str | None = None) -> set[str]:
    """Names of tasks in the folders of installed plugins, and in a further one."""
    return set(_names_in(folders(include_path)))


def task_manager(
    tasks: Sequence[str],
    include_path: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """lm-eval's task manager with the tasks of installed plugins.

    lm-eval's own index takes seconds to read. It is read only where one of the tasks is not among
    those of the installed plugins and the given folder.

    Args:
        tasks: names of tasks.
        include_path: a further folder.
        metadata: as lm-eval's `--metadata`.
    """
    from lm_eval.tasks import TaskManager

    missing = set(tasks) - tasks_of_plugins(include_path)
    return TaskManager(
        include_path=[str(folder) for folder in folders(include_path)],
        include_defaults=bool(missing),
        metadata=dict(metadata or {}),
    )


def folders(include_path: str | None = None) -> list[Path]:
    """Task folders of installed plugins, and a further one; a later one wins."""
    from atts_harness import plugins

    of_plugins = [entry.value for entry in plugins.task_dirs().values()]
    return of_plugins if include_path is None else [*of_plugins, Path(include_path)]


def _names_in(places: Sequence[Path]) -> Iterator[str]:
    for folder in places:
        for path in folder.rglob("*.yaml"):
            yield from _NAMED.findall(path.read_text(encoding="utf-8", errors="replace"))
