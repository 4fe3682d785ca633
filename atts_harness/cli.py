"""The `atts` command. Plugins add commands by the hook `atts_cli`; those that need lm-eval too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atts_harness import plugins
from atts_harness._version import __version__
from atts_harness.errors import AttsError

FAILURE = 1


def build_app() -> typer.Typer:
    """The command with everything that installed plugins add to it.

    Raises:
        SettingError: an installed plugin cannot be imported.
    """
    app = typer.Typer(
        name="atts",
        help="Compare draft/target test-time scaling strategies.",
        no_args_is_help=True,
        add_completion=False,
        # A fault is told in one line (`main`) or as Python tells it.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command("plugins")(show_plugins)
    plugins.manager().hook.atts_cli(app=app)
    return app


def main() -> None:
    """Run `atts`; what the project raises on purpose is one line and a failure's exit status."""
    try:
        build_app()()
    except AttsError as error:
        if os.environ.get("ATTS_TRACEBACK") == "1":
            raise
        print(f"atts: error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_status", FAILURE))


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
    console = Console()
    for title, rows in (
        ("Strategies (model_args: strategy=)", strategies),
        ("Backends (backend=)", backends),
        ("Presets (preset=)", presets),
    ):
        _print(console, title, ("name", "package", "what it is"), rows)
    for title, found in plugins.manager().hook.atts_registrations():
        _print(console, title, ("what", "package", "how"), found)


def _print(
    console: Console, title: str, columns: Iterable[str], rows: Iterable[tuple[str, str, str]]
) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", maxsplit=1)[0]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atts-harness {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compare draft/target test-time scaling strategies."""
