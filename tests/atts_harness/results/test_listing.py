"""`atts runs` says of every run below a folder how it stands."""

import asyncio
import json
import sqlite3

import pytest
from typer.testing import CliRunner

from atts_harness import plugins
from atts_harness.cli import build_app
from atts_harness.errors import RunDirError
from atts_harness.framework import EvalFramework, EvaluationOutcome
from atts_harness.hookspecs import hookimpl
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.records import RunRecord, SampleId, SampleRecord
from atts_harness.results.listing import runs_below


def make(folder, done, state, samples=3):
    directory = RunDirectory(folder)
    ids = [SampleId("sums", doc, 0) for doc in range(samples)]
    journal = directory.journal(
        RunRecord(harness="0", strategy="draft-only"), {i: Planned("p") for i in ids}
    )
    for id_ in ids[:done]:
        asyncio.run(
            journal.record_sample(
                SampleRecord(id=id_, strategy="draft-only", text="", finish="answer")
            )
        )
    journal.close()
    if state is not None:
        directory.ended(state, {})
    directory.close()


class Framework(EvalFramework):
    """Its results file is one figure."""

    name = "figures"
    packages = ()

    @hookimpl
    def atts_frameworks(self):
        return [self]

    def outcome(self, folder):
        file = folder / "figure"
        return EvaluationOutcome(file, "pass@1", float(file.read_text())) if file.exists() else None


@pytest.fixture
def folder(pair, tmp_path):
    plugins.manager().register(Framework())
    make(tmp_path / "a", 3, "finished")
    (tmp_path / "a/figure").write_text("0.75")
    make(tmp_path / "cells/b", 1, "interrupted")
    make(tmp_path / "cells/c", 1, None)
    (tmp_path / "broken").mkdir()
    with sqlite3.connect(tmp_path / "broken/journal.sqlite3") as journal:
        journal.execute("PRAGMA user_version = 99")
    return tmp_path


def test_state_samples_and_headline_of_every_run(folder):
    found = {str(run.path.relative_to(folder)): run for run in runs_below(folder)}
    assert {name: (run.state, run.done, run.samples) for name, run in found.items()} == {
        "a": ("finished", 3, 3),
        "broken": ("unreadable", 0, 0),
        "cells/b": ("interrupted", 1, 3),
        "cells/c": ("not ended", 1, 3),
    }
    assert (found["a"].metric, found["a"].value) == ("pass@1", 0.75)
    assert found["cells/b"].value is None
    assert found["broken"].fault


def test_the_table_fits_80_columns_and_names_every_run(folder):
    shown = CliRunner().invoke(build_app(), ["runs", str(folder)], terminal_width=80)
    assert shown.exit_code == 0, shown.output
    for word in ("cells/b", "draft-only", "interrupted", "1/3", "pass@1 0.750"):
        assert word in shown.output
    plain = CliRunner().invoke(build_app(), ["runs", str(folder), "--json"])
    assert next(run["state"] for run in json.loads(plain.output)) == "finished"


def test_the_folder_that_all_runs_are_in_is_said_once(pair, tmp_path):
    deep = tmp_path / "cells" / "atts_chain" / "tiny"
    names = ["speculative-thinking", "atts-continue-rate=0.2"]
    for name in names:
        make(deep / name, 3, "finished")
    output = CliRunner().invoke(build_app(), ["runs", str(tmp_path)], terminal_width=80).output
    assert "tiny/" not in output
    assert all(name in output for name in names), "a name is not broken"


def test_a_folder_without_runs_is_one_line(tmp_path):
    with pytest.raises(RunDirError, match="holds no run directory"):
        runs_below(tmp_path)
    with pytest.raises(RunDirError, match="there is no such folder"):
        runs_below(tmp_path / "no")
