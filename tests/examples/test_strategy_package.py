"""The package of `docs/extend/strategy.md`, installed and run as a stranger would.

A fresh virtual environment outside the tree, on top of this interpreter's packages, no network.
lm-eval is copied into it without its own tasks: reading thousands of them takes ten seconds.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "examples" / "strategy_package"
DOCUMENT = PROJECT / "docs" / "extend" / "strategy.md"
FILE = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documented():
    """The files that the document spells out."""
    return dict(FILE.findall(DOCUMENT.read_text()))


def test_the_document_shows_every_file_as_it_is():
    shown = documented()
    own = {p.name: p.read_text() for p in PACKAGE.iterdir() if p.is_file()}
    assert shown == own
    assert "handover.py" in shown


def test_it_imports_nothing_of_ours_but_the_core():
    roots = set()
    for name, source in documented().items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom):
                    roots.add(node.module.partition(".")[0])
                elif isinstance(node, ast.Import):
                    roots |= {alias.name.partition(".")[0] for alias in node.names}
    assert {root for root in roots if root.startswith("atts")} == {"atts_harness"}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the harness and the documented package."""
    if not all(map(importlib.util.find_spec, ("hatchling", "editables", "pip"))):
        pytest.skip("building a package needs hatchling, editables and pip (extra `dev`)")
    root = tmp_path_factory.mktemp("stranger")
    venv.create(root / "env", with_pip=False, symlinks=True)
    (site,) = (root / "env").glob("lib/python*/site-packages")
    above = [path for path in sys.path if path.endswith("-packages")]
    (site / "zz_above.pth").write_text("\n".join(above) + "\n")
    source = Path(importlib.util.find_spec("lm_eval").origin).parent
    shutil.copytree(source, site / "lm_eval", ignore=_task_folders(source / "tasks"))
    (metadata,) = source.parent.glob("lm_eval-*.dist-info")
    shutil.copytree(metadata, site / metadata.name)
    package = root / "handover"
    package.mkdir()
    for name, content in documented().items():
        (package / name).write_text(content)
    python = root / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    offline = ["--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*install, *offline, "-e", PROJECT], check=True)
    subprocess.run([*install, *offline, package], check=True)
    return python


def _task_folders(tasks):
    return lambda folder, names: [
        name for name in names if Path(folder) == tasks and Path(folder, name).is_dir()
    ]


def run(python, *args):
    """Run Python in the environment; the checkout is on no path of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ATTS"))}
    env = {**clean, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [python, *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=python.parents[2],
        env=env,
    )


def test_its_own_tests_pass(python):
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "handover")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_stock_command_runs_it(python):
    args = "strategy=handover,draft_tokens=16,limit=0.5"
    task = ("--tasks", "atts_chain_easy", "--limit", "2")
    done = run(python, "-m", "lm_eval", "--model", "atts", "--model_args", args, *task)
    assert done.returncode == 0, done.stderr
    assert "atts_chain_easy" in done.stdout


CHECK = """
import sys
from atts_harness.errors import SettingError
from atts_harness.settings import parse_settings
for given in sys.argv[1:]:
    try:
        parse_settings({"strategy": "handover", **dict([given.split("=")])})
    except SettingError as error:
        print(error)
"""


def test_its_options_are_checked_like_any_others(python):
    done = run(python, "-c", CHECK, "draft_token=3", "limit=-1", "judge_top=7", "limit=2")
    near, negative, foreign = done.stdout.splitlines()
    assert "did you mean draft_tokens" in near
    assert negative.startswith("limit: expected `float` >= 0")
    assert foreign == (
        "judge_top: an option of strategy specreason, which handover does not have; leave it out"
    )


def test_its_options_are_listed_with_what_they_mean(python):
    done = run(python, "-m", "atts_harness", "options", "handover")
    assert done.returncode == 0, done.stderr
    assert "limit" in done.stdout
    assert "draft_tokens" in done.stdout
