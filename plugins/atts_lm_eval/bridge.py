"""Makes lm-eval 0.4.x aware of the harness's models and tasks, without touching lm-eval.

lm-eval releases so far know their own models and task folders only. The wheel's start-up file
(`autoload.pth`) puts a finder on `sys.meta_path` that does nothing until `lm_eval.models` or
`lm_eval.tasks.manager` is imported; then it hands over to `find_spec` here, which lets the module
load as always and extends it afterwards. `atts lm-eval` calls `install` instead and needs no
start-up code.

Each half steps aside by itself: a model is registered only if upstream's own entry points
(`lm_eval.models`, merged after 0.4.13) do not bring it, and a task folder is added only if it is
not among those that lm-eval is about to read.

The line in the start-up file, read from left to right: nothing if the finder is there already (a
start-up file may run twice), nothing if `ATTS_NO_AUTOLOAD=1`, else a finder whose only work is to
compare a name. It asks other finders for nothing but their type, so that none of them can make it
fail. The rest of it is a string so that nobody pays for compiling it: it hands over to `find_spec`,
and whatever goes wrong there (an editable install without its folder, a package that is half
removed, a broken one, one that ends the process) is one line, and lm-eval loads as always.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.metadata
import logging
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from atts_lm_eval import upstream

FINDER = "atts-autoload"
GROUP = "lm_eval.models"

log = logging.getLogger("lm_eval.atts")  # under lm-eval's logger: its handlers and level apply


def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
    """The spec that the other finders give, with a loader that extends the module at the end."""
    for finder in list(sys.meta_path):
        find = None if _is_the_finder(finder) else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path, target)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):
                spec.loader = _ExtendingLoader(spec.loader, EXTENSIONS[name])
            else:
                log.warning("atts-harness is not available in %s: its loader is unknown", name)
            return spec
    return None


def install() -> None:
    """Do what the start-up file does, and extend modules that are imported already."""
    if not start_up_file_ran():
        sys.meta_path.insert(0, SimpleNamespace(name=FINDER, find_spec=_find_extended))
    for name, extend in EXTENSIONS.items():
        if name in sys.modules:
            _guarded(extend, sys.modules[name])


_LEFT_OUT = {"own tasks": False}


def leave_own_tasks_out(leave: bool) -> None:
    """Whether lm-eval's own task files stay unread in this process: `atts lm-eval` knows its tasks.

    Reading them costs seconds of processor time at every start.
    """
    _LEFT_OUT["own tasks"] = leave


def start_up_file_ran() -> bool:
    """Whether the finder is on `sys.meta_path`."""
    return any(map(_is_the_finder, sys.meta_path))


def target_of(strategy: str) -> str:
    """Where the lm-eval model of a strategy is, as `module:attribute`."""
    return f"atts_lm_eval.models:{strategy.replace('-', '_')}"


def extend_models(module: ModuleType) -> None:
    """Register every strategy as an lm-eval model, lazily, after lm-eval's own.

    Strings, not entry-point objects: lm-eval's registry loads both lazily, but raises a
    collision when a class meets the entry point that it came from.
    """
    from atts_harness import plugins

    registry = upstream.model_registry()
    offered: set[str] = set()
    if upstream.reads_entry_points():
        offered = {entry.name for entry in importlib.metadata.entry_points(group=GROUP)}
    for name in plugins.strategies():
        if name in registry:
            registered = upstream.registered_model(name)
            if registered != target_of(name) and not _is_ours(registered):
                log.warning(
                    "model %r: lm-eval has one of that name; use --model atts "
                    "--model_args strategy=%s for the harness's",
                    name,
                    name,
                )
        elif name not in offered:
            registry.register(name, target=target_of(name))


def extend_tasks(module: ModuleType) -> None:
    """Let lm-eval's task manager read the harness's task folders too.

    They come right after lm-eval's own tasks, so that a folder given by `--include_path` wins.
    Their errors are one line whichever model runs.
    """
    from atts_lm_eval import excepthook

    excepthook.install()
    stock: Any = module.TaskIndex
    if getattr(stock, "reads_plugin_folders", False):
        return
    stock_folder = Path(str(module.__file__)).parent

    class PluginTaskIndex(stock):  # type: ignore[misc]
        reads_plugin_folders = True

        @staticmethod
        def build(paths: Iterable[Path], **options: Any) -> Any:
            folders = list(paths)
            if stock_folder in folders:
                _guarded(lambda _: _insert_behind(stock_folder, folders), module)
                if _LEFT_OUT["own tasks"] and len(folders) > 1:
                    folders.remove(stock_folder)
            return stock.build(folders, **options)

    module.TaskIndex = PluginTaskIndex  # type: ignore[attr-defined]


EXTENSIONS: dict[str, Callable[[ModuleType], None]] = {
    upstream.MODELS: extend_models,
    upstream.TASKS: extend_tasks,
}


def _insert_behind(stock_folder: Path, folders: list[Path]) -> None:
    from atts_harness import plugins

    plugin_folders = [entry.value for entry in plugins.task_dirs().values()]
    present = {folder.resolve() for folder in folders}
    behind = folders.index(stock_folder) + 1
    folders[behind:behind] = [
        folder for folder in plugin_folders if folder.resolve() not in present
    ]


class _ExtendingLoader(importlib.abc.Loader):
    """Loads as `loader` does, extends the module, and leaves no trace of itself."""

    def __init__(self, loader: Any, extend: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._extend = extend

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        created: ModuleType | None = None if create is None else create(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _guarded(self._extend, module)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # of a copy, before it has its attributes
            raise AttributeError(name)
        return getattr(self._loader, name)


def _find_extended(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
    return find_spec(name, path, target) if name in EXTENSIONS else None


def _is_the_finder(finder: object) -> bool:
    return type(finder) is SimpleNamespace and vars(finder).get("name") == FINDER


def _guarded(extend: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Turn an error of ours into a warning, so that `--model hf` works in every case.

    A package that ends the process when it is imported is such a fault.
    """
    try:
        extend(module)
    except (Exception, SystemExit) as error:
        log.warning(
            "atts-harness is not available in %s: %s: %s (ATTS_NO_AUTOLOAD=1 switches it off)",
            module.__name__,
            type(error).__name__,
            error,
        )


def _is_ours(registered: Any) -> bool:
    origin = registered if isinstance(registered, str) else getattr(registered, "__module__", "")
    return str(origin).startswith("atts_lm_eval")
