"""The tutorial's commands run in order, and show what the page says that they show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import shell

PAGE = "docs/tutorial.md"
TIMES = re.compile(r"(&[^&\n]*){4}\\\\$", re.MULTILINE)  # tokens depend on caches, and times vary


NUMBER = re.compile(r"\d+(?:\.\d+)?")
NEAR = (
    0.03  # another kind of processor rounds otherwise, and a sample in a hundred ends another way
)


def words(text):
    return " ".join(text.split())


def agrees(line, shown):
    """Whether a line is among those that were shown, its figures within what rounding does."""
    figures = [float(n) for n in NUMBER.findall(line)]
    for other in shown:
        if NUMBER.sub("#", line) == NUMBER.sub("#", other):
            found = [float(n) for n in NUMBER.findall(other)]
            if all(abs(a - b) <= NEAR for a, b in zip(figures, found, strict=True)):
                return True
    return False


@pytest.mark.skipif(os.environ.get("ATTS_TEST_DOCS") != "1", reason="make test-docs runs it")
def test_every_block_is_what_its_commands_show(tmp_path):
    (tmp_path / "examples").symlink_to(shell.ROOT / "examples")
    folder = Path(sys.executable).parent
    env = {**os.environ, "COLUMNS": "120", "PATH": f"{folder}:{os.environ['PATH']}"}
    shown = ""
    for command in shell.commands():
        if command.page == PAGE and command.text.startswith("atts "):
            done = subprocess.run(
                ["bash", "-euc", command.text],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                timeout=280,
            )
            assert done.returncode == 0, done.stderr
            shown += done.stdout
    shown = list(map(words, shown.splitlines()))
    latex = TIMES.sub("", (tmp_path / "paper" / "leaderboard.tex").read_text())
    latex = list(map(words, latex.splitlines()))
    compared = 0
    for page, line, language, text in shell.blocks():
        if page == PAGE and language in ("text", "latex"):
            for said in filter(None, map(words, TIMES.sub("", text).splitlines())):
                there = shown if language == "text" else latex
                # Rules of tables are as wide as their cells.
                assert "──" in said or agrees(said, there), f"{PAGE}:{line}: {said}"
                compared += 1
    assert compared > 10
    for name in re.findall(r"`paper/([\w./]+?)/?`", (shell.ROOT / PAGE).read_text()):
        assert (tmp_path / "paper" / name).exists(), name


def test_the_plan_on_the_page_is_the_plan_that_is_run():
    (shown,) = [
        text
        for page, _, language, text in shell.blocks()
        if page == PAGE and language == "yaml" and "name: tutorial" in text
    ]
    run = (shell.ROOT / "examples" / "tutorial" / "plan.yaml").read_text()
    assert shown == "".join(line for line in run.splitlines(True) if not line.startswith("#"))
