"""Finds what plugins register: under which name, and from which package.

Built-ins are registered by the same entry points that a third party uses.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import pluggy

from atts_harness.discovery import FAULTS, NOT_INSTALLED, OURS, Discovery
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.hookspecs import FigureOf, Preset

if TYPE_CHECKING:
    from atts_harness.backend import BackendKind, ServerKind
    from atts_harness.framework import EvalFramework
    from atts_harness.launcher import Launcher
    from atts_harness.results.foreign import PublishedFormat
    from atts_harness.results.values import ResultsFormat
    from atts_harness.strategy import Strategy

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,78}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Registered(Generic[T]):
    """Something that a plugin registered, and where it comes from."""

    name: str
    value: T
    plugin: str
    distribution: str


_ANSWERS: ContextVar[dict[str, dict[str, Registered[Any]]] | None] = ContextVar(
    "answers", default=None
)


@functools.cache
def discovery() -> Discovery:
    """Every installed plugin that can be used, and what is left out; searched for once."""
    return Discovery()


def manager() -> pluggy.PluginManager:
    """The plugin manager with every installed plugin that can be loaded."""
    return discovery().manager


def strategies() -> dict[str, Registered[type[Strategy]]]:
    """Strategies by name."""
    return _collect("atts_strategies", lambda strategy: str(strategy.name), _check_strategy)


def backends() -> dict[str, Registered[BackendKind[Any]]]:
    """Backends by name."""
    return _collect("atts_backends", lambda backend: str(backend.name), _check_backend)


def presets() -> dict[str, Registered[Preset]]:
    """Presets by name. If this package has a default preset, no other package's is a default."""
    return _collect("atts_presets", lambda preset: str(preset.name), _check_preset, _one_default)


def _one_default(entries: dict[str, Registered[Preset]]) -> dict[str, Registered[Preset]]:
    defaults = [entry for entry in entries.values() if entry.value.default]
    if any(entry.distribution == OURS for entry in defaults):
        for entry in defaults:
            if entry.distribution not in (OURS, NOT_INSTALLED):
                description = f"the default preset {entry.name!r}"
                reason = f"there is a default already; ask for it with preset={entry.name}"
                discovery().leave_out(entry.plugin, description, reason)
                entries[entry.name] = replace(entry, value=replace(entry.value, default=False))
    return entries


def task_dirs() -> dict[str, Registered[Path]]:
    """Folders of lm-eval task YAMLs, by path."""
    return _collect("atts_task_dirs", str, _check_folder)


def references() -> list[Path]:
    """Files with references to cite, of all packages."""
    files = _collect("atts_references", str, _check_file)
    return [entry.value for entry in files.values()]


def plans() -> dict[str, Registered[Path]]:
    """Plan files of all packages, by name."""
    return _collect("atts_plans", lambda path: str(path.stem), _check_file)


def frameworks() -> dict[str, Registered[EvalFramework]]:
    """Evaluation frameworks by name."""
    return _collect("atts_frameworks", lambda framework: str(framework.name), _check_framework)


def launchers() -> dict[str, Registered[Launcher]]:
    """Launchers by name."""
    return _collect("atts_launchers", lambda launcher: str(launcher.name), _check_launcher)


def packages() -> list[str]:
    """Python packages that a run's record names with their versions."""
    kinds = [entry.value for entry in backends().values()]
    named = [package for framework in frameworks().values() for package in framework.value.packages]
    for kind in kinds:
        named += kind.packages
    return sorted(set(named))


def servers() -> dict[str, ServerKind]:
    """Descriptions of servers, by the name of their backend."""
    kinds = {name: entry.value.server for name, entry in backends().items()}
    return {name: server for name, server in kinds.items() if server is not None}


def results_formats() -> list[ResultsFormat]:
    """Formats of results that can be read, in order of registration."""
    formats = _collect("atts_read_results", lambda form: str(form.name), _check_results_format)
    return [entry.value for entry in formats.values()]


def published_formats() -> list[PublishedFormat]:
    """Shapes of published result folders that can be read, in order of registration."""
    formats = _collect("atts_published", lambda form: str(form.name), _check_published_format)
    return [entry.value for entry in formats.values()]


def figures() -> dict[str, Registered[FigureOf]]:
    """Figures that packages add to the report page, by the names of their functions."""
    return _collect("atts_figures", lambda figure: str(figure.__name__), _check_function)


@contextmanager
def cached_answers() -> Iterator[None]:
    """Call each hook only once inside the block, for code that looks up thousands of names."""
    token = _ANSWERS.set({})
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def strategy(name: str) -> type[Strategy]:
    """The strategy called `name`.

    Raises:
        UnknownSettingError: none has this name; names the nearest.
    """
    return _pick(strategies(), name, "strategy")


def backend(name: str) -> BackendKind[Any]:
    """The backend called `name`.

    Raises:
        UnknownSettingError: none has this name; names the nearest.
    """
    return _pick(backends(), name, "backend")


def launcher(name: str) -> Launcher:
    """The launcher called `name`.

    Raises:
        UnknownSettingError: none has this name; names the nearest.
    """
    return _pick(launchers(), name, "launcher")


def framework(name: str | None = None) -> EvalFramework:
    """The evaluation framework called `name`; without a name the only one that is installed.

    Raises:
        UnknownSettingError: none has this name; names the nearest.
        SettingError: none is installed, or several are and none is named.
    """
    installed = frameworks()
    if name is not None:
        return _pick(installed, name, "framework")
    if not installed:
        raise SettingError(
            "framework: no evaluation framework is installed; install a plugin that brings one"
        )
    if len(installed) > 1:
        raise SettingError(f"framework: several are installed; name one of {', '.join(installed)}")
    return next(iter(installed.values())).value


def _pick(entries: dict[str, Registered[T]], name: str, category: str) -> T:
    if name not in entries:
        missing = "; ".join(map(str, discovery().left_out.values()))
        raise UnknownSettingError(name, entries, source=category, besides=missing, what=category)
    return entries[name].value


def _collect(
    hook: str,
    name_of: Callable[[Any], str],
    check: Callable[[Any], None],
    settle: Callable[[dict[str, Registered[Any]]], dict[str, Registered[Any]]] = dict,
) -> dict[str, Registered[Any]]:
    """What plugins register by a hook, after `settle` has compared the entries."""
    answers = _ANSWERS.get()
    if answers is None:
        return settle(_ask(hook, name_of, check))
    if hook not in answers:
        answers[hook] = settle(_ask(hook, name_of, check))
    return answers[hook]


def _ask(
    hook: str, name_of: Callable[[Any], str], check: Callable[[Any], None]
) -> dict[str, Registered[Any]]:
    """What the plugins register, by name.

    If this package uses a name, another package's entry of that name is left out. If two other
    packages use one name, both of their entries are left out.
    """
    registry = discovery()
    entries: dict[str, Registered[Any]] = {}
    contested: set[str] = set()
    for answer in registry.ask(hook):
        try:
            values = list(answer.value)
        except FAULTS as error:
            registry.leave_out(answer.plugin, hook, error)
            continue
        for value in values:
            try:
                check(value)
                name = _checked_name(name_of(value), hook)
            except FAULTS as error:
                registry.leave_out(answer.plugin, f"{hook}: {_describe(value)}", error)
                continue
            entry = Registered(name, value, answer.plugin, answer.distribution)
            other = entries.setdefault(name, entry)
            if other is entry:
                continue
            first, second = (entry, other) if entry.distribution == OURS else (other, entry)
            entries[name] = first
            _leave_out(second, hook, first)
            if OURS not in (first.distribution, second.distribution):
                _leave_out(first, hook, second)
                contested.add(name)
    return {name: entry for name, entry in entries.items() if name not in contested}


def _leave_out(entry: Registered[Any], hook: str, other: Registered[Any]) -> None:
    discovery().leave_out(
        entry.plugin,
        f"{hook}: {entry.name!r}",
        f"{other.distribution} ({other.plugin}) registers {entry.name!r} too; uninstall one",
    )


def _checked_name(name: str, hook: str) -> str:
    if hook not in ("atts_task_dirs", "atts_references") and not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is not a name: letters, digits, and . _ + - inside")
    return name


def _check_strategy(value: Any) -> None:
    from atts_harness.strategy import StrategyOptions

    if not isinstance(value, type):
        raise TypeError("a strategy is a class")
    options = getattr(value, "Options", None)
    if not (isinstance(options, type) and issubclass(options, StrategyOptions)):
        raise TypeError("its Options are not StrategyOptions")
    if not set(getattr(value, "roles", ("draft", "target"))) <= {"draft", "target"}:
        raise TypeError("it has roles other than draft and target")
    for name in ("run", "name", "made_for"):
        if not hasattr(value, name):
            raise TypeError(f"it has no {name!r}; derive it from Strategy")


def _check_backend(value: Any) -> None:
    from atts_harness.backend import BackendKind

    if not isinstance(value, BackendKind):
        raise TypeError("it is not a BackendKind")
    if not (isinstance(value.options, type) and issubclass(value.options, msgspec.Struct)):
        raise TypeError("its options are not BackendOptions")


def _check_preset(value: Any) -> None:
    if not isinstance(value, Preset) or not isinstance(value.settings, Mapping):
        raise TypeError("it is not a Preset")


def _check_function(value: Any) -> None:
    if not callable(value):
        raise TypeError("it is not a function")


def _check_folder(value: Any) -> None:
    if not isinstance(value, Path) or not value.is_dir():
        raise TypeError("it is not a folder")


def _check_file(value: Any) -> None:
    if not isinstance(value, Path) or not value.is_file():
        raise TypeError("it is not a file")


def _check_framework(value: Any) -> None:
    from atts_harness.framework import EvalFramework

    _check_members(value, EvalFramework)


def _check_results_format(value: Any) -> None:
    from atts_harness.results.values import ResultsFormat

    if not isinstance(value, ResultsFormat):
        raise TypeError("it is not a ResultsFormat")


def _check_published_format(value: Any) -> None:
    from atts_harness.results.foreign import PublishedFormat

    if not isinstance(value, PublishedFormat):
        raise TypeError("it is not a PublishedFormat")


def _check_launcher(value: Any) -> None:
    from atts_harness.launcher import Launcher

    _check_members(value, Launcher)


def _check_members(value: Any, protocol: type) -> None:
    missing = [n for n in vars(protocol) if not n.startswith("_") and not hasattr(value, n)]
    if missing:
        raise TypeError(f"a {protocol.__name__} needs {', '.join(sorted(missing))}")


def _describe(value: Any) -> str:
    """The class of a foreign value: its own `repr` may raise, or be long."""
    named = value if isinstance(value, type) else type(value)
    return f"{named.__module__}.{named.__qualname__}"
