"""Finds installed plugins, and leaves out those that fail.

A plugin that cannot be imported, ends the process on import, has the wrong shape or raises when it
is asked is left out: a warning names it and its package, and `atts plugins` shows why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from atts_harness import hookspecs, neutral
from atts_harness.hookspecs import PROJECT

if TYPE_CHECKING:
    import importlib.metadata

logger = neutral.logger("atts_harness.plugins")

OURS = "atts-harness"
NOT_INSTALLED = "(not installed)"
"""The package name of a plugin that was registered in this process."""
NAMELESS = "(package without a name)"
FAULTS = (Exception, SystemExit)
"""Exceptions that count as a plugin's fault; Ctrl-C does not."""
_MOST_SHOWN = 300


@dataclass(frozen=True)
class LeftOut:
    """Something that is installed and not used.

    Attributes:
        plugin: its entry point.
        distribution: the package that brings it.
        part: the plugin itself, a hook, or what the hook brought.
        reason: in a line.
    """

    plugin: str
    distribution: str
    part: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.part} of plugin {self.plugin} ({self.distribution}) is left out: {self.reason}"
        )


@dataclass(frozen=True)
class HookAnswer:
    """What a plugin answered to a hook.

    Attributes:
        plugin: its entry point.
        distribution: the package that brings it.
        arguments: what it was given.
        value: what the hook returned; a list where that is an iterator.
    """

    plugin: str
    distribution: str
    arguments: Mapping[str, Any]
    value: Any


class Discovery:
    """The plugins that are installed.

    Args:
        installed: whether to look for installed plugins.

    Attributes:
        manager: pluggy's, with every plugin that could be loaded.
        left_out: what is not used, by plugin, package and part.
    """

    def __init__(self, *, installed: bool = True) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.left_out: dict[tuple[str, str, str], LeftOut] = {}
        self._distributions: dict[str, str] = {}
        import importlib.metadata  # not needed where nothing is discovered

        announced = [
            (name, distribution)
            for distribution in (importlib.metadata.distributions() if installed else ())
            if (name := _announced(distribution)) is not None
        ]
        # The project's own plugins first, so that no other plugin takes their names.
        for name, distribution in sorted(announced, key=lambda named: named[0] != OURS):
            self._load(name, distribution)

    def ask(
        self, hook: str, arguments: Callable[[], Mapping[str, Any]] = dict
    ) -> Iterator[HookAnswer]:
        """Every plugin's answer to a hook. A plugin that raises an exception is left out.

        Args:
            hook: its name.
            arguments: makes the arguments for one plugin.
        """
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            name = str(implementation.plugin_name)
            keywords = arguments()
            try:
                value = _call(implementation, keywords)
                if isinstance(value, Iterator):
                    value = list(value)  # what it raises, it raises here
            except FAULTS as error:
                self.leave_out(name, hook, error)
            else:
                yield HookAnswer(name, self.distribution_of(name), keywords, value)

    def observers(self, hook: str) -> list[Callable[[Any], None]]:
        """The plugins that listen to a record, each left out for good once it raises.

        Args:
            hook: one that takes a `record`.
        """
        return [
            self._observer(hook, implementation)
            for implementation in getattr(self.manager.hook, hook).get_hookimpls()
        ]

    def _observer(self, hook: str, implementation: pluggy.HookImpl) -> Callable[[Any], None]:
        listens = True

        def observe(record: Any) -> None:
            nonlocal listens
            if listens:
                try:
                    _call(implementation, {"record": record})
                except FAULTS as error:
                    listens = False
                    self.leave_out(str(implementation.plugin_name), hook, error)

        return observe

    def distribution_of(self, plugin: str) -> str:
        """The package that brings a plugin."""
        return self._distributions.get(plugin, NOT_INSTALLED)

    def leave_out(self, plugin: str, part: str, error: BaseException | str) -> None:
        """Note that something is not used, and warn of it once."""
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {_words(error)}"
        noted = LeftOut(plugin, self.distribution_of(plugin), part, reason.strip(": "))
        key = (plugin, noted.distribution, part)
        if key not in self.left_out:
            self.left_out[key] = noted
            logger.warning("%s", noted)

    def _load(self, package: str, distribution: importlib.metadata.Distribution) -> None:
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == PROJECT]
        except FAULTS as error:
            self._distributions[package] = package
            self.leave_out(package, "the plugin", error)
            return
        for entry in entries:
            self._load_entry(entry, package)

    def _load_entry(self, entry: importlib.metadata.EntryPoint, package: str) -> None:
        other = self._distributions.get(entry.name)
        if other == package:
            return  # the same package twice on the path
        if other is not None:
            name = f"{entry.name} of {package}"
            self._distributions[name] = package
            self.leave_out(name, "the plugin", f"{other} has a plugin {entry.name} too")
            return
        self._distributions[entry.name] = package
        try:
            plugin = entry.load()
            self.manager.register(plugin, name=entry.name)
        except FAULTS as error:
            self.leave_out(entry.name, "the plugin", error)
            return
        for caller in self.manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                self.leave_out(entry.name, caller.name, "there is no hook of this name")


def _announced(distribution: importlib.metadata.Distribution) -> str | None:
    """The name of a package that has plugins of this project; None for any other."""
    try:
        announced = distribution.read_text("entry_points.txt") or ""
    except FAULTS:
        return None  # damaged, and whether it is a plugin of ours cannot be known
    if PROJECT not in announced:
        return None
    try:
        return str(distribution.metadata["Name"] or NAMELESS)
    except FAULTS:  # a package that is half removed
        return NAMELESS


def _call(implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> Any:
    if implementation.hookwrapper or implementation.wrapper:
        raise TypeError("it is a hook wrapper, which this project does not allow")
    keywords = {key: arguments[key] for key in implementation.argnames}
    return implementation.function(**keywords)


def _words(error: BaseException) -> str:
    try:
        words = " ".join(str(error).split())
    except Exception:  # its own text raises
        return "(it cannot say why)"
    return words if len(words) <= _MOST_SHOWN else words[: _MOST_SHOWN - 1] + "…"
