"""`atts compare` on real models: interrupted, continued, with a cell that fails beside good ones.

lm-eval is copied with one of its task folders: reading the index of all 13,000 takes most of the
time that a cell takes to start.
"""

import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from atts_harness.journal.reader import open_run

pytest.importorskip("torch", reason="real models need the extra `transformers`")
pytest.importorskip("transformers", reason="real models need the extra `transformers`")

try:
    distribution("atts-harness")
except PackageNotFoundError:
    pytest.skip("discovery needs an installed package (pip install -e .)", allow_module_level=True)

# On a busy machine a cell takes a minute to start.
pytestmark = pytest.mark.timeout(900)

PLAN = """
out: out
limit: 2
repeats: 2
shuffle: false
settings: {progress: plain, live_samples: 1, device: cpu}
tasks: atts_chain_easy
strategies:
  - {strategy: atts, settings: {rate: 0.5, on_reject: replace}}
  - {strategy: draft-only, settings: {max_gen_toks: 100000}}
  - {strategy: random-takeover, settings: {on_reject: replace, rate_of: atts}}
"""
KEPT_TASKS = "gsm8k"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a plan, and a small copy of lm-eval for its cells."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "plan.yaml").write_text(PLAN)
    found = Path(importlib.util.find_spec("lm_eval").origin).parent

    def left_out(path, names):
        if Path(path) == found / "tasks":
            return [n for n in names if (found / "tasks" / n).is_dir() and n != KEPT_TASKS]
        return [name for name in names if name == "__pycache__"]

    shutil.copytree(found, folder / "site" / "lm_eval", ignore=left_out)
    return folder


def start(place):
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "atts_harness", "compare", "plan.yaml"],
        cwd=place,
        env={**os.environ, **offline, "PYTHONPATH": str(place / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def calls(journal):
    """How many calls are recorded; 0 where there is no journal yet."""
    try:
        base = sqlite3.connect(journal.as_uri() + "?mode=ro", uri=True)
        try:
            return base.execute("SELECT count(*) FROM calls").fetchone()[0]
        finally:
            base.close()
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(scope="module")
def stopped(place):
    """What a comparison printed that was stopped while its first cell was at work."""
    process = start(place)
    journal = place / "out/cells/atts_chain_easy/tiny/atts/journal.sqlite3"
    while not calls(journal) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    state = {c["row"]: c for c in json.loads((place / "out/compare.json").read_text())["cells"]}
    return process.returncode, printed, state, calls(journal)


@pytest.fixture(scope="module")
def continued(place, stopped):
    """What the same command printed and left afterwards."""
    process = start(place)
    printed, _ = process.communicate()
    state = {c["row"]: c for c in json.loads((place / "out/compare.json").read_text())["cells"]}
    return process.returncode, printed, state


def test_ctrl_c_stops_the_cell_and_names_the_command(stopped):
    status, printed, state, recorded = stopped
    assert status == 130, printed
    assert {row: cell["state"] for row, cell in state.items()} == {
        "atts": "interrupted",
        "draft-only": "pending",
        "random-takeover": "pending",
    }
    assert recorded > 0
    assert "to continue: " in printed.splitlines()[-1]
    assert printed.splitlines()[-1].endswith("compare plan.yaml")


def test_the_same_command_continues_the_cells_own_journal(continued, stopped, place):
    _, printed, state = continued
    assert (state["atts"]["state"], state["atts"]["starts"]) == ("done", 2), printed
    with open_run(place / "out" / state["atts"]["folder"]) as run:
        states = [session.state for session in run.sessions()]
        assert states == ["interrupted", "finished"]
        assert run.complete
        assert len(list(run.samples())) == 4
        assert len(list(run.calls())) > stopped[3]


def test_a_failed_cell_stops_no_other(continued):
    status, printed, state = continued
    assert status == 1
    assert state["draft-only"]["state"] == "failed"
    assert state["draft-only"]["cause"].startswith("max_gen_toks=100000: with a prompt of ")
    assert state["random-takeover"]["state"] == "done"
    below_table = printed[printed.rindex("\u2518") :]
    assert "max_gen_toks=100000" in below_table
    assert f"(log: {state['draft-only']['log']})" in below_table
    assert "Traceback" not in printed


def test_random_takeover_aims_at_the_rate_that_atts_had(continued, place):
    _, _, state = continued
    with open_run(place / "out" / state["atts"]["folder"]) as run:
        judged = [d for d in run.decisions() if d.reason == "p-value"]
        rate = sum(d.takeover for d in judged) / len(judged)
    with open_run(place / "out" / state["random-takeover"]["folder"]) as run:
        assert {d.threshold for d in run.decisions() if d.reason == "policy"} == {rate}
    for row in ("atts", "random-takeover"):
        results = json.loads((place / "out" / state[row]["results"]).read_text())
        figure = results["results"]["atts_chain_easy"]["pass@1,all"]
        assert state[row]["accuracy"] == figure


def test_the_report_is_of_the_cells_that_are_done(continued, place):
    report = place / "out" / "report"
    board = json.loads((report / "leaderboard.json").read_text())
    assert {row["strategy"] for row in board["rows"]} == {"atts", "random-takeover"}
    assert (report / "leaderboard.md").exists()
    assert str(Path("out/report/leaderboard.md")) in continued[1]
