"""The command line as a whole: order, examples, flags and help of every command."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import NoneType
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import typer
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from atts_harness import terminal
from atts_harness.cli import build_app
from atts_harness.hookspecs import Stage

APP = build_app()
GROUP = typer.main.get_group(APP)
PASSES_ON = {"lm-eval"}  # its help is lm-eval's
OURS = sorted(GROUP.commands.keys() - PASSES_ON)
# One thing to many commands, or one of several.
SAME_THING = {"--pair", "--out"}
# Flags that several commands take, each with one meaning.
SHARED = {
    *("--backend", "--batch", "--dry-run", "--force", "--gpus", "--headers-env", "--json"),
    *("--level", "--margin", "--max-length", "--metadata", "--model-args", "--out", "--pair"),
    *("--port", "--repeats", "--run-dir", "--served-model-name", "--system-instruction", "--task"),
    *("--timeout", "--tokenizer"),
}


def test_commands_stand_in_the_order_of_work():
    stages = list(Stage)
    panels = {
        info.name or info.callback.__name__: info.rich_help_panel
        for info in APP.registered_commands
    }
    # A command without `rich_help_panel=Stage...` would stand behind all others.
    assert [name for name, panel in panels.items() if panel not in stages] == []
    ranks = [stages.index(panel) for panel in panels.values()]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(len(stages)))


@pytest.mark.parametrize("name", OURS)
def test_help_has_an_example_that_the_command_takes(name):
    shown = CliRunner().invoke(APP, [name, "-h"], terminal_width=80)
    assert (shown.exit_code, "Example: atts" in shown.output) == (0, True)
    command = GROUP.commands[name]
    words = shlex.split(command.epilog.removeprefix("Example: "))
    assert words[:2] == ["atts", name]
    with command.make_context(name, words[2:]) as context:
        assert context.params.keys() == {option.name for option in command.params}


@pytest.mark.parametrize("name", OURS)
def test_help_at_80_columns_cuts_no_name_and_wraps_paragraphs(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(APP, [name, "-h"]).output
    assert [line for line in shown.splitlines() if "…" in line] == []
    lines = shown.partition("Usage:")[2].partition("╭")[0].split("\n")
    for line, following in itertools.pairwise(map(str.strip, lines)):
        if line and following:  # the line ends where the next word does not fit
            assert len(line) + 1 + len(following.split()[0]) > 78


def flags():
    """Every flag of every command: (flag, command, type as it is annotated)."""
    for info in APP.registered_commands:
        name = info.name or info.callback.__name__.replace("_", "-")
        for argument, hint in get_type_hints(info.callback, include_extras=True).items():
            if name in PASSES_ON or get_origin(hint) is not Annotated:
                continue
            kind, option = get_args(hint)
            if isinstance(option, typer.models.OptionInfo):
                given = (option.default, *(option.param_decls or ()))
                if option.hidden:
                    continue  # an old name, refused with the new one
                written = [one for one in given if str(one).startswith("--")]
                for flag in written or [f"--{argument.strip('_').replace('_', '-')}"]:
                    yield flag, name, set(get_args(kind) or (kind,)) - {NoneType}


def test_a_flag_means_one_thing():
    kinds = {}
    for flag, name, kind in flags():
        kinds.setdefault(flag, []).append((kind, name))
    assert {"--samples-file", "--sample-log", "--page-samples", "--dry-run"} <= kinds.keys()
    assert {name for _, name in kinds["--json"]} >= {"options", "plan", "ledger", "audit", "runs"}
    several = {
        flag: found
        for flag, found in kinds.items()
        if flag not in SAME_THING and any(kind != found[0][0] for kind, _ in found)
    }
    assert not several


def test_flags_of_several_commands_were_looked_at():
    """A new one comes into `SHARED` when its help says the same of every command."""
    commands = {}
    for flag, name, _ in flags():
        commands.setdefault(flag, set()).add(name)
    assert {flag for flag, names in commands.items() if len(names) > 1} == SHARED


def test_texts_of_help_begin_small_and_have_no_full_stop():
    texts = [
        (name, option.name, option.help)
        for name in OURS
        for option in GROUP.commands[name].params
        if getattr(option, "help", None)
    ]
    assert len(texts) > 60
    names = ("Python ", "Ray ")
    begins = [one for one in texts if re.match("[A-Z][a-z]+ ", one[2])]
    assert [one for one in begins if not one[2].startswith(names)] == []
    assert [one for one in texts if re.search(r"[^.]\.$", one[2])] == []


def wide(columns, rows=3):
    table = Table("strategy", *(f"figure {n}" for n in range(columns)), title="Speed")
    for row in range(rows):
        table.add_row(f"random takeover, rate=0.{row}", *(f"{n}.{row}" for n in range(columns)))
    return table


def test_an_interval_stands_in_the_piece_of_its_figure():
    table = Table("strategy", "vote", "95 %", "pass@1", "95 %", "maj@16")
    table.add_row("self-consistency inner=target-only", *["0.123-0.456"] * 5)
    console = Console(width=70)
    with console.capture() as capture:
        console.print(terminal.FittedTable(table, {2, 4}))
    heads = [line for line in capture.get().splitlines() if "strategy" in line]
    assert [re.findall(r"vote|pass@1|maj@16|95 %", head) for head in heads] == [
        ["vote", "95 %"], ["pass@1", "95 %"], ["maj@16"],
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [1, 4, 12])
def test_a_table_too_wide_is_shown_in_pieces_with_the_names_of_its_rows(columns):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal.FittedTable(wide(columns)))
    shown = capture.get()
    assert max(map(len, shown.splitlines())) <= 80
    pieces = shown.count("strategy")
    assert (pieces > 1) == (columns > 4)
    for row in range(3):
        assert shown.count(f"random takeover, rate=0.{row}") == pieces
        assert all(f"{n}.{row}" in shown for n in range(columns))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["runs", "--help"]])
def test_a_full_disk_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "atts_harness", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ("atts: error: the output cannot be written: No space left on device\n")
