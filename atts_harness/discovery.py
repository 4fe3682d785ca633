"""Finds installed plugins, and keeps the fault of one from being everybody's.

A plugin that cannot be imported, ends the process when it is, has the wrong shape or raises when it
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
"""What stands for the package of a plugin that was registered in this process."""
NAMELESS = "(package without a name)"
FAULTS = (Exception, SystemExit)
"""What a plugin's fault looks like; Ctrl-C is none."""
_MOST_SHOWN = 300


@dataclass(frozen=True)
class LeftOut:
    """Something that is installed and not used.

    Attributes:
        plugin: its entry point.
        distribution: the package that brings it.
        what: the plugin itself, a hook, or what the hook brought.
        why: in a line.
    """

    plugin: str
    distribution: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} of plugin {self.plugin} ({self.distribution}) is left out: {self.why}"


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
    """The plugins that there are.

    Args:
        installed: look for those that are installed.

    Attributes:
        manager: pluggy's, with every plugin that could be loaded.
        left_out: what is not used, by plugin and what.
    """

    def __init__(self, *, installed: bool = True) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.left_out: dict[tuple[str, str, str], LeftOut] = {}
        self._distributions: dict[str, str] = {}
        import importlib.metadata  # not needed where nothing is discovered

        found = [
            (name, distribution)
            for distribution in (importlib.metadata.distributions() if installed else ())
            if (name := _announced(distribution)) is not None
        ]
        # Our own first: a stranger's plugin does not get the name of one of ours.
        for name, distribution in sorted(found, key=lambda named: named[0] != OURS):
            self._load(name, distribution)

    def ask(
        self, hook: str, arguments: Callable[[], Mapping[str, Any]] = dict
    ) -> Iterator[HookAnswer]:
        """Every plugin's answer to a hook; a plugin that raises an exception is left out.

        Args:
            hook: its name.
            arguments: makes what one plugin is given.
        """
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            name = str(implementation.plugin_name)
            given = arguments()
            try:
                value = _call(implementation, given)
                if isinstance(value, Iterator):
                    value = list(value)  # what it raises, it raises here
            except FAULTS as error:
                self.leave_out(name, hook, error)
            else:
                yield HookAnswer(name, self.distribution_of(name), given, value)

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

    def leave_out(self, plugin: str, what: str, error: BaseException | str) -> None:
        """Note that something is not used; told once."""
        why = error if isinstance(error, str) else f"{type(error).__name__}: {_words(error)}"
        noted = LeftOut(plugin, self.distribution_of(plugin), what, why.strip(": "))
        key = (plugin, noted.distribution, what)
        if key not in self.left_out:
            self.left_out[key] = noted
            logger.warning("%s", noted)

    def _load(self, where: str, distribution: importlib.metadata.Distribution) -> None:
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == PROJECT]
        except FAULTS as error:
            self._distributions[where] = where
            self.leave_out(where, "the plugin", error)
            return
        for entry in entries:
            self._load_entry(entry, where)

    def _load_entry(self, entry: importlib.metadata.EntryPoint, where: str) -> None:
        other = self._distributions.get(entry.name)
        if other == where:
            return  # the same package twice on the path
        if other is not None:
            name = f"{entry.name} of {where}"
            self._distributions[name] = where
            self.leave_out(name, "the plugin", f"{other} has a plugin {entry.name} too")
            return
        self._distributions[entry.name] = where
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
    """The name of a package that announces plugins; None for any other."""
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
        raise TypeError("it wraps what other plugins say, which no hook of ours allows")
    given = {key: arguments[key] for key in implementation.argnames}
    return implementation.function(**given)


def _words(error: BaseException) -> str:
    try:
        words = " ".join(str(error).split())
    except Exception:  # its own text raises
        return "(it cannot say why)"
    return words if len(words) <= _MOST_SHOWN else words[: _MOST_SHOWN - 1] + "…"
