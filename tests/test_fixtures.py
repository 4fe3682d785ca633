"""What earlier releases wrote beside a journal is read by this one (tests/fixtures)."""

import subprocess
import sys
from pathlib import Path

import pytest
from atts_lm_eval import results_file

from atts_harness.analysis.leaderboard.outputs.json_file import read_json
from atts_harness.comparing.plan import VERSION, read_plan
from atts_harness.comparing.status import read_status
from atts_harness.conformal.bankfile import read_bank
from atts_harness.errors import AttsError
from atts_harness.journal.reader import open_run

FIXTURES = Path(__file__).parent / "fixtures"
RELEASES = sorted(path for path in FIXTURES.iterdir() if (path / "bank.json").is_file())

PLANS = sorted({*FIXTURES.glob("plan-*.yaml"), *(path / "plan.yaml" for path in RELEASES)})


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def old(request):
    return request.param


def test_a_bank(old):
    bank = read_bank(old / "bank.json")
    assert len(bank) == len(bank.turns) > 5
    assert bank.provenance.task == "atts_chain"
    assert bank.rate == 0.4


def test_results(old):
    (path,) = (old / "results").glob("results_*.json")
    results = results_file.read(path)
    assert results.run.strategy == "atts"
    assert list(results.tasks) == ["atts_chain"]
    assert results.tasks["atts_chain"].statistics.takeover.judged_turns > 5


def test_a_leaderboard(old):
    leaderboard = read_json(old / "leaderboard.json")
    assert {row.strategy for row in leaderboard.rows} == {"atts", "draft-only"}


@pytest.mark.parametrize("path", PLANS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_plan(path):
    plan = read_plan(str(path)).plan
    assert (plan.version, plan.name) == (1, "fixture")
    assert [entry.name or entry.strategy for entry in plan.strategies] == [
        "draft-only",
        "atts-replace",
    ]


def test_plans_of_every_version_are_there():
    assert {read_plan(str(path)).plan.version for path in PLANS} == set(range(1, VERSION + 1))


def test_the_state_of_a_comparison(old):
    status = read_status(old / "compare")
    assert [cell.state for cell in status.cells] == ["done", "done"]


@pytest.mark.parametrize(
    ("name", "read"), [("bank.json", read_bank), ("leaderboard.json", read_json)]
)
def test_a_newer_one_is_refused_in_one_line(old, tmp_path, name, read):
    text = (old / name).read_text()
    newer = text.replace('"version": 1', '"version": 99', 1)
    assert newer != text
    (tmp_path / name).write_text(newer)
    with pytest.raises(AttsError, match="99") as raised:
        read(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_the_fixtures_of_this_release_can_be_made(tmp_path):
    made = subprocess.run(
        [sys.executable, str(FIXTURES / "make.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    with open_run(tmp_path / "run") as run:
        assert len(list(run.samples())) >= 4
        assert run.missing()
