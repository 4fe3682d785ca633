"""Runs of earlier releases are read, upgraded and continued; those of newer ones refused."""

import contextlib
import shutil
import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest
import typer.testing

from atts_harness.cli import build_app
from atts_harness.errors import JournalMismatchError, RunDirError
from atts_harness.journal import schema
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.identity import differences
from atts_harness.journal.reader import open_run
from atts_harness.ledger.recorded import ledger_of
from atts_harness.records import RunRecord

FIXTURES = Path(__file__).parents[2] / "fixtures"
sys.path.append(str(FIXTURES))
import unfinished  # noqa: E402

pytestmark = pytest.mark.usefixtures("mock_installed")

RELEASES = sorted(path.name for path in FIXTURES.iterdir() if (path / "run").is_dir())


@pytest.fixture(params=RELEASES)
def old(request, tmp_path):
    """An unfinished run of an earlier release."""
    return Path(shutil.copytree(FIXTURES / request.param / "run", tmp_path / "run"))


def version(folder):
    with contextlib.closing(sqlite3.connect(folder / schema.JOURNAL)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def told(folder):
    """What a run directory says, as plain data."""
    with open_run(folder) as run:
        return (
            [msgspec.to_builtins(sample) for sample in run.samples()],
            [msgspec.to_builtins(call) for call in run.calls()],
            [msgspec.to_builtins(decision) for decision in run.decisions()],
            run.planned(),
            run.missing(),
            list(run.metrics()),
        )


def test_there_is_a_run_of_the_first_release():
    assert "0.1.0" in RELEASES


def test_an_old_run_is_read_as_it_is(old):
    before = version(old)
    samples, calls, decisions, planned, missing, metrics = told(old)
    assert (len(samples), len(planned), len(missing)) == (4, 6, 2)
    assert len(calls) == 28
    assert len(decisions) == 12
    assert metrics
    with open_run(old) as run:
        assert ledger_of(run).samples["finished"] == 4
    assert version(old) == before


def test_an_upgraded_run_says_what_it_said(old):
    app = build_app()
    before = told(old)
    for words in ("upgraded", "is of this release already"):
        done = typer.testing.CliRunner().invoke(app, ["upgrade", str(old)])
        assert done.exit_code == 0, done.output
        assert words in " ".join(done.output.split())
    assert version(old) == schema.VERSION
    assert told(old) == before


@pytest.mark.parametrize("upgraded", [False, True])
def test_an_old_run_goes_on_where_it_stopped(old, upgraded):
    if upgraded:
        with contextlib.closing(RunDirectory(old)) as directory:
            assert directory.upgrade()
    samples, calls, decisions, *_ = told(old)
    records = unfinished.go_on(old)
    assert len(records) == unfinished.SAMPLES
    after = told(old)
    assert version(old) == schema.VERSION
    assert [sample for sample in after[0] if sample in samples] == samples
    assert after[1][: len(calls)] == calls
    assert after[2][: len(decisions)] == decisions
    assert not after[4]
    assert len({str(call["key"]) for call in after[1]}) == len(after[1])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 7}, "settings.seed was 1234, now 7"),
        ({"turns": 2}, "options.turns was 3, now 2"),
        ({"draft_mock_seed": 5}, "models.draft.model was"),
    ],
)
def test_an_old_run_of_something_else_is_refused_and_left_alone(old, changed, named):
    before = version(old)
    with pytest.raises(JournalMismatchError, match=named):
        unfinished.go_on(old, **changed)
    assert version(old) == before


@pytest.mark.parametrize("use", [open_run, RunDirectory, lambda path: RunDirectory(path).upgrade()])
def test_a_newer_run_is_refused_in_one_line(old, use):
    with contextlib.closing(sqlite3.connect(old / schema.JOURNAL)) as connection:
        connection.execute("PRAGMA user_version = 9001")
    with pytest.raises(RunDirError, match="schema version 9001, and this release reads") as raised:
        use(old)
    assert "\n" not in str(raised.value)


def test_another_release_may_go_on_unless_its_replies_differ():
    began = RunRecord(harness="0.1.0", strategy="s")
    assert differences(began, RunRecord(harness="7.0", strategy="s")) == []
    assert differences(began, RunRecord(harness="0.1.0", strategy="s", replies=2)) == [
        "version of replies was 1, now 2"
    ]


def test_a_setting_that_an_earlier_release_did_not_have_had_its_default():
    began = RunRecord(strategy="s", settings={}, options={})
    now = RunRecord(strategy="s", settings={"seed": 1234, "top_k": None}, options={"new": 3})
    assert differences(began, now, {"new": 3}) == []
    now = RunRecord(strategy="s", settings={"seed": 5}, options={"new": 4})
    assert differences(began, now, {"new": 3}) == [
        "options.new was 3, now 4",
        "settings.seed was 1234, now 5",
    ]


def test_fields_of_later_releases_are_passed_over(tmp_path):
    """A minor addition needs no new version: what is not known is skipped."""
    record = msgspec.to_builtins(RunRecord(strategy="s")) | {"novelty": {"a": 1}}
    assert schema.decode_run(schema.encode(record)).strategy == "s"
