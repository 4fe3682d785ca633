"""`atts lm-eval`, and the part of `atts plugins` that shows how lm-eval finds models."""

from __future__ import annotations

import importlib.metadata

import typer

from atts_harness import plugins
from atts_harness.hookspecs import Stage
from atts_lm_eval import bridge, upstream

# Everything behind the name is lm-eval's, `--help` included.
PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("lm-eval", context_settings=PASS_ON, rich_help_panel=Stage.RUN)(lm_eval)


def lm_eval(ctx: typer.Context) -> None:
    """Run lm-eval's own command with the harness's models and tasks; needs no start-up code."""
    from atts_lm_eval.needs import needs_own_tasks

    bridge.install()
    bridge.leave_own_tasks_out(not needs_own_tasks(ctx.args))
    upstream.run_command(ctx.args)


def registrations() -> tuple[str, list[tuple[str, str, str]]]:
    """Title and rows of a table: every model and task folder, its package, how lm-eval finds it."""
    version = importlib.metadata.version("lm_eval")
    rows = [
        (f"--model {name}", entry.distribution, _how_model(name))
        for name, entry in plugins.strategies().items()
    ]
    if bridge.start_up_file_ran():
        route = "start-up file"
    else:
        route = "not by the stock command; use `atts lm-eval`, or --include_path"
    rows += [
        (f"tasks in {entry.name}", entry.distribution, route)
        for entry in plugins.task_dirs().values()
    ]
    return f"lm-eval {version}", rows


def _how_model(name: str) -> str:
    entries = importlib.metadata.entry_points(group=bridge.GROUP)
    if upstream.reads_entry_points() and name in entries.names:
        return f"entry point {bridge.GROUP}"
    if bridge.start_up_file_ran():
        return "start-up file"
    return "not by the stock command; use `atts lm-eval`"
