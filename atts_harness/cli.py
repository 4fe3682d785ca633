"""The `atts` command. Plugins add commands by the hook `atts_cli`; those that need lm-eval too."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from atts_harness import plugins, terminal
from atts_harness._version import __version__
from atts_harness.discovery import FAULTS, OURS
from atts_harness.errors import AttsError
from atts_harness.hookspecs import Stage


def build_app() -> typer.Typer:
    """The command with everything that installed plugins add to it."""
    app = typer.Typer(
        name="atts",
        help="Compare draft/target test-time scaling strategies.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        # `main` prints errors as one line; other exceptions as Python does.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command("plugins", rich_help_panel=Stage.PREPARE, epilog="Example: atts plugins")(
        show_plugins
    )
    names_in_use = {"plugins"}
    discovery = plugins.discovery()
    answers = discovery.ask("atts_cli", lambda: {"app": typer.Typer()})
    # The project's own commands first, so that no plugin takes their names.
    for answer in sorted(answers, key=lambda answer: answer.distribution != OURS):
        added = answer.arguments["app"]
        try:
            names = _names(added)
            typer.main.get_group(added)  # what typer refuses, it refuses here
        except FAULTS as error:
            discovery.leave_out(answer.plugin, "atts_cli", error)
            continue
        for name in sorted(names.keys() & names_in_use):
            discovery.leave_out(answer.plugin, f"command {name!r}", "`atts` has one of this name")
        for name, (registered, info) in names.items():
            if name not in names_in_use:
                if registered == "registered_commands":
                    info.help = info.help or _paragraphs(info.callback)
                getattr(app, registered).append(info)
        names_in_use |= names.keys()
    app.registered_commands.sort(key=_stage)
    app.registered_groups.sort(key=_stage)
    return app


def _paragraphs(command: Callable[..., object] | None) -> str | None:
    """A command's docstring with each paragraph in one line, for terminals of any width.

    typer joins the lines of the first paragraph only.
    """
    text = inspect.getdoc(command) if command else None
    return text and "\n\n".join(" ".join(part.split("\n")) for part in text.split("\n\n"))


def _stage(added: Any) -> int:
    """The place of a command in the order of work; a command without a stage comes last."""
    stages = list(Stage)
    return stages.index(added.rich_help_panel) if added.rich_help_panel in stages else len(stages)


def _names(added: typer.Typer) -> dict[str, tuple[str, Any]]:
    """The commands that a plugin adds, by their names on the command line."""
    names: dict[str, tuple[str, Any]] = {}
    for info in added.registered_commands:
        callback = info.callback
        command = info.name or typer.main.get_command_name(callback.__name__ if callback else "")
        names[command] = ("registered_commands", info)
    for group in added.registered_groups:
        inner = group.typer_instance
        named = group.name or (inner.info.name if inner is not None else None)
        if not isinstance(named, str):
            raise TypeError("a group of commands without a name")
        names[named] = ("registered_groups", group)
    return names


_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO})


def main() -> None:
    """Run `atts`. An error of the project is printed as one line, with its exit status."""
    try:
        try:
            build_app()()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # What is still buffered cannot be written either, and Python would try at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        place = error.filename or "the output"
        print(f"atts: error: {place} cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except AttsError as error:
        if os.environ.get("ATTS_TRACEBACK") == "1":
            raise
        print(f"atts: error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def show_plugins() -> None:
    """Show what is registered, from which package, and how it reaches lm-eval."""
    strategies = [
        (s.name, s.distribution, _first_line(s.value.__doc__))
        for s in plugins.strategies().values()
    ]
    backends = [(b.name, b.distribution, b.value.summary) for b in plugins.backends().values()]
    presets = [
        (f"{p.name} (default)" if p.value.default else p.name, p.distribution, p.value.summary)
        for p in plugins.presets().values()
    ]
    console = terminal.console()
    for title, rows in (
        ("Strategies (model_args: strategy=)", strategies),
        ("Backends (backend=)", backends),
        ("Presets (preset=)", presets),
    ):
        _print(console, title, ("name", "package", "what it is"), rows)
    # Plugins that appear in no table are asked, too, for they may be left out.
    registries: list[Callable[[], object]] = [plugins.task_dirs, plugins.plans, plugins.frameworks]
    for ask in (*registries, plugins.launchers):
        ask()
    discovery = plugins.discovery()
    for answer in discovery.ask("atts_registrations"):
        try:
            title, entries = answer.value
            rows = [(str(name), str(package), str(reach)) for name, package, reach in entries]
        except FAULTS as error:
            discovery.leave_out(answer.plugin, "atts_registrations", error)
        else:
            _print(console, str(title), ("what", "package", "how"), rows)
    left_out = [
        (f"{item.plugin}: {item.part}", item.distribution, item.reason)
        for item in discovery.left_out.values()
    ]
    if left_out:
        _print(console, "Left out", ("what", "package", "why"), left_out)


def _print(
    console: Console, title: str, columns: Iterable[str], rows: Iterable[tuple[str, str, str]]
) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", maxsplit=1)[0]


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"atts-harness {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compare draft/target test-time scaling strategies."""
