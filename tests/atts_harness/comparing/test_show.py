"""The table of a comparison: at any width each cell's name and figures are whole."""

import re

import pytest

from atts_harness import terminal
from atts_harness.comparing.show import Show
from atts_harness.comparing.status import CellStatus, Status

ALIKE = ["t/p/draft-only", "t/p/random-replace-rate=0.837838"]
APART = [
    "atts_gpqa_diamond/r1-qwen-1.5b-qwq-32b/self-consistency-inner=atts-rate=0.2-most=6",
    "atts_math500/r1-llama-8b-qwq-32b/random-replace-rate=0.6",
]
CAUSE = "max_gen_toks=100000: with a prompt of 120 tokens more than the window of 2,048"


def cell(name, **values):
    task, pair, row = name.split("/")
    return CellStatus(
        name=name, task=task, pair=pair, row=row, strategy="s", point={}, identity={}, **values
    )


def shown(names, width):
    done = {"state": "done", "starts": 1, "seconds": 13700.2, "accuracy": 0.5, "metric": "pass@1"}
    failed = {"state": "failed", "starts": 2, "cause": CAUSE, "log": "cells/x/log.txt"}
    cells = [cell(name, **values) for name, values in zip(names, (done, failed), strict=True)]
    console = terminal.console(width=width, force_terminal=False)
    with console.capture() as capture:
        status = Status(name="title", plan="plan.yaml", seed=1, shuffled=True, cells=cells)
        Show(2, console=console).table(status)
    return capture.get()


def columns(text):
    """Texts of the tables' columns by heading, folds taken out, each row once."""
    found = {}
    for table in re.split("\u250f", text)[1:]:
        lines = [line.split("\u2502") for line in table.splitlines() if "\u2502" in line]
        head = [part.strip() for part in table.splitlines()[1].split("\u2503")]
        for n, name in enumerate(head):
            if name:
                found[name] = "".join(line[n].strip() for line in lines)
    return found


@pytest.mark.parametrize("names", [ALIKE, APART])
@pytest.mark.parametrize("width", [60, 80, 140])
def test_names_and_figures_are_whole(names, width):
    text = shown(names, width)
    inside = columns(text)
    assert inside["strategy"].replace(" ", "") == "".join(name.split("/")[2] for name in names)
    assert inside["state"] == "donefailed"
    assert inside["time"].startswith("3:48:20")
    assert inside["accuracy"] == "pass@1 0.500"
    table = [line for line in text.splitlines() if line.startswith(("\u250f", "\u2502", "\u2514"))]
    assert max(map(len, table)) <= width
    assert "\u2026" not in text


def test_what_all_cells_share_is_said_once_in_the_title():
    text = shown(ALIKE, 80)
    assert text.startswith("title (task t, pair p)")
    assert not {"task", "pair"} & columns(text).keys()
    assert {"task", "pair"} <= columns(shown(APART, 80)).keys()


def test_a_cause_stands_below_in_one_line_with_the_name_and_the_log():
    text = shown(APART, 80)
    assert text.splitlines()[-1] == f"{APART[1]}: {CAUSE} (log: cells/x/log.txt)"
