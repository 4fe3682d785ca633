"""Discovery: what is registered, under which name, from which package.

Every built-in comes in by the entry points that a third party would use.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from atts_harness import hookspecs
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.hookspecs import PROJECT, Preset

if TYPE_CHECKING:
    from atts_harness.backend import BackendKind, ServerKind
    from atts_harness.framework import EvalFramework
    from atts_harness.launcher import Launcher
    from atts_harness.results.values import ResultsFormat
    from atts_harness.strategy import Strategy

T = TypeVar("T")


@dataclass(frozen=True)
class Registered(Generic[T]):
    """Something a plugin brought, and where from."""

    name: str
    value: T
    plugin: str
    distribution: str


@functools.cache
def manager() -> pluggy.PluginManager:
    """The plugin manager with every installed plugin; built once.

    Raises:
        SettingError: a plugin cannot be imported; names it.
    """
    plugins = pluggy.PluginManager(PROJECT)
    plugins.add_hookspecs(hookspecs)
    try:
        plugins.load_setuptools_entrypoints(PROJECT)
    except ImportError as error:
        raise SettingError(f"plugins: an installed plugin cannot be imported: {error}") from error
    return plugins


def strategies() -> dict[str, Registered[type[Strategy]]]:
    """Strategies by name."""
    return _collect("atts_strategies", lambda strategy: str(strategy.name))


def backends() -> dict[str, Registered[BackendKind]]:
    """Backends by name."""
    return _collect("atts_backends", lambda backend: str(backend.name))


def presets() -> dict[str, Registered[Preset]]:
    """Presets by name."""
    return _collect("atts_presets", lambda preset: str(preset.name))


def task_dirs() -> dict[str, Registered[Path]]:
    """Folders of lm-eval task YAMLs, by path."""
    return _collect("atts_task_dirs", str)


def plans() -> dict[str, Registered[Path]]:
    """Plan files that packages bring, by name."""
    return _collect("atts_plans", lambda path: str(path.stem))


def frameworks() -> dict[str, Registered[EvalFramework]]:
    """Evaluation frameworks by name."""
    return _collect("atts_frameworks", lambda framework: str(framework.name))


def launchers() -> dict[str, Registered[Launcher]]:
    """Launchers by name."""
    return _collect("atts_launchers", lambda launcher: str(launcher.name))


def packages() -> list[str]:
    """Python packages that a run's record names with their versions."""
    kinds = [entry.value for entry in backends().values()]
    named = [package for framework in frameworks().values() for package in framework.value.packages]
    for kind in kinds:
        named += kind.packages
    return sorted(set(named))


def servers() -> dict[str, ServerKind]:
    """What is known of servers, by the name of their backend."""
    kinds = {name: entry.value.server for name, entry in backends().items()}
    return {name: server for name, server in kinds.items() if server is not None}


def results_formats() -> list[ResultsFormat]:
    """Formats of results that can be read, in order of registration."""
    return [entry.value for entry in _collect("atts_read_results", lambda f: str(f.name)).values()]


def strategy(name: str) -> type[Strategy]:
    """The strategy called `name`.

    Raises:
        UnknownSettingError: none is; names the nearest.
    """
    return _pick(strategies(), name, "strategy")


def backend(name: str) -> BackendKind:
    """The backend called `name`.

    Raises:
        UnknownSettingError: none is; names the nearest.
    """
    return _pick(backends(), name, "backend")


def launcher(name: str) -> Launcher:
    """The launcher called `name`.

    Raises:
        UnknownSettingError: none is; names the nearest.
    """
    return _pick(launchers(), name, "launcher")


def framework(name: str | None = None) -> EvalFramework:
    """The evaluation framework called `name`; without a name the only one that is installed.

    Raises:
        UnknownSettingError: none is called so; names the nearest.
        SettingError: none is installed, or several are and none is named.
    """
    found = frameworks()
    if name is not None:
        return _pick(found, name, "framework")
    if not found:
        raise SettingError(
            "framework: no evaluation framework is installed; install a plugin that brings one"
        )
    if len(found) > 1:
        raise SettingError(f"framework: several are installed; name one of {', '.join(found)}")
    return next(iter(found.values())).value


def _pick(found: dict[str, Registered[T]], name: str, what: str) -> T:
    if name not in found:
        raise UnknownSettingError(name, found, where=what)
    return found[name].value


def _collect(hook: str, name_of: Callable[[Any], str]) -> dict[str, Registered[Any]]:
    plugins = manager()
    distributions = {plugin: dist.project_name for plugin, dist in plugins.list_plugin_distinfo()}
    found: dict[str, Registered[Any]] = {}
    for implementation in getattr(plugins.hook, hook).get_hookimpls():
        values: Iterable[Any] = implementation.function()
        distribution = distributions.get(implementation.plugin, "(not installed)")
        for value in values:
            entry = Registered(name_of(value), value, implementation.plugin_name, distribution)
            other = found.get(entry.name)
            if other is not None:
                raise SettingError(
                    f"plugins: {entry.name!r} is registered by both {other.distribution} "
                    f"({other.plugin}) and {distribution} ({entry.plugin}); uninstall one"
                )
            found[entry.name] = entry
    return found
