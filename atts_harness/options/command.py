"""`atts options`: every setting of a run, of a strategy or of a backend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    import msgspec
    from rich.table import Table

    from atts_harness.options.declared import Declared

RUN = "run"


@dataclass(frozen=True)
class Owner:
    """An owner of settings: the run, a strategy or a backend.

    Attributes:
        name: `run`, or the name of the strategy or the backend.
        category: `run`, `strategy` or `backend`.
        struct: the settings.
    """

    name: str
    category: str
    struct: type[msgspec.Struct]


def names() -> list[str]:
    """Names for which settings can be listed."""
    from atts_harness import plugins

    return [RUN, *plugins.strategies(), *plugins.backends()]


def options_command(app: typer.Typer) -> None:
    """Add `atts options`."""
    app.command(
        "options",
        rich_help_panel=Stage.PREPARE,
        epilog="Example: atts options atts",
    )(show_options)


def show_options(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[STRATEGY|BACKEND|run]",
            help="what to list the settings of; default: everything that is installed",
            autocompletion=lambda incomplete: [n for n in names() if n.startswith(incomplete)],
        ),
    ] = None,
    settings: Annotated[
        str,
        typer.Argument(
            metavar="[SETTINGS]", help="what the strategy is made of, such as inner=atts of a vote"
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
) -> None:
    """List settings with type, default, meaning and the class that declares them.

    A setting of a backend may be given for one role: draft_NAME, target_NAME.
    """
    import msgspec

    from atts_harness import terminal
    from atts_harness.options.declared import settings_of

    owners = list(_owners(name, settings))
    if json:
        data = [_plain(owner, setting) for owner in owners for setting in settings_of(owner.struct)]
        text = msgspec.json.format(msgspec.json.encode(data), indent=2)
        sys.stdout.write(text.decode() + "\n")
        return
    console = terminal.console()
    for table in _tables(owners):
        console.print(table)


def _owners(name: str | None, settings: str) -> Iterator[Owner]:
    """The owners of the settings to list.

    Raises:
        UnknownSettingError: nothing has that name.
        SettingError: the settings of the strategy do not fit it.
    """
    from atts_harness import plugins
    from atts_harness.arguments import parse_arguments
    from atts_harness.errors import UnknownSettingError
    from atts_harness.settings import RunOptions

    strategies, backends = plugins.strategies(), plugins.backends()
    if name is not None and name not in names():
        raise UnknownSettingError(name, names(), source="options", what="name")
    arguments = parse_arguments(settings, "settings")
    if name in (None, RUN):
        yield Owner(RUN, RUN, RunOptions)
    for candidate, strategy in strategies.items():
        if name in (None, candidate):
            kind = strategy.value.made_for(arguments if name else {})
            yield Owner(candidate, "strategy", kind.Options)
    for candidate, backend in backends.items():
        if name in (None, candidate):
            yield Owner(candidate, "backend", backend.value.options)


def _plain(owner: Owner, setting: Declared) -> dict[str, Any]:
    return {
        "of": owner.name,
        "what": owner.category,
        "name": setting.name,
        "type": setting.kind,
        "default": setting.default,
        "meaning": setting.meaning,
        "declared_by": f"{setting.owner.__module__}.{setting.owner.__qualname__}",
        "package": setting.package,
    }


def _tables(owners: list[Owner]) -> Iterator[Table]:
    """A table for each class that declares settings; several strategies may share one."""
    from atts_harness.options.declared import settings_of

    users: dict[type, dict[str, None]] = {}
    declared: dict[type, dict[tuple[str, str | None], Declared]] = {}
    for owner in owners:
        for setting in settings_of(owner.struct):
            users.setdefault(setting.owner, {})[f"{owner.category} {owner.name}"] = None
            declared.setdefault(setting.owner, {})[setting.name, setting.default] = setting
    # For a single owner, its own settings come before those that it shares.
    for kind, settings in reversed(declared.items()) if len(owners) == 1 else declared.items():
        owner_names = ", ".join(users[kind]).removeprefix(f"{RUN} ")
        package = next(iter(settings.values())).package
        title = f"{owner_names}: {kind.__qualname__} ({kind.__module__}, package {package})"
        yield _table(title, list(settings.values()))


def _table(title: str, settings: list[Declared]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_lines=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("type", overflow="fold")
    table.add_column("default", overflow="fold")
    table.add_column("meaning", overflow="fold", ratio=1)
    for setting in settings:
        default = "(required)" if setting.default is None else setting.default or '""'
        table.add_row(setting.name, setting.kind, default, setting.meaning)
    return table
