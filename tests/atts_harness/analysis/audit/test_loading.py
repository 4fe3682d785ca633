"""What can be audited: run directories, sample logs, published traces."""

import gzip
import io
import json
import math
import os
from pathlib import Path

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from atts_harness.analysis.audit.audit import audit
from atts_harness.analysis.audit.command import audit_command
from atts_harness.analysis.audit.loading import audit_path, grades_of_logs
from atts_harness.analysis.audit.published import grades_of, records_of
from atts_harness.analysis.audit.tables import render
from atts_harness.analysis.audit.turns import turns_of, turns_of_decisions
from atts_harness.errors import RunDirError, SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.journal.reader import nominal_rate
from atts_harness.records import (
    RunRecord,
    SampleId,
)

from .conftest import sample_of

SHARED = Path(os.environ.get("ATTS_SHARED_DIR", Path(__file__).parents[5] / "shared"))

TRACES = SHARED / "data" / "traces" / "atts_math500_ct0.jsonl.gz"

needs_traces = pytest.mark.skipif(
    not TRACES.is_file(), reason=f"no published traces at {TRACES} (set ATTS_SHARED_DIR)"
)


def run_dir(tmp_path, samples, unfinished=()):
    folder = RunDirectory(tmp_path / "run")
    record = RunRecord(strategy="atts", tasks={"t": {"options": {"rate": 0.3}}})
    plan = {sample.id: Planned("hash") for sample in [*samples, *unfinished]}
    journal = folder.journal(record, plan)
    import asyncio

    async def write():
        sequence = 0
        for sample in [*samples, *unfinished]:
            for decision in sample.decisions:
                sequence += 1
                journal.record_decision(msgspec.structs.replace(decision, sequence=sequence))
        for sample in samples:
            await journal.record_sample(sample)

    asyncio.run(write())
    journal.close()
    folder.close()
    return tmp_path / "run"


def test_an_unfinished_run_is_audited_by_force_only_and_marked(tmp_path):
    finished = [sample_of([("a", True, "b"), (r"\boxed{1}", False, "")], doc) for doc in range(5)]
    unfinished = [sample_of([("a", True, "")], 7)]
    path = run_dir(tmp_path, finished, unfinished)
    with pytest.raises(RunDirError, match="incomplete: 1 of 6 samples are missing"):
        audit_path(path)
    (found,) = audit_path(path, force=True)
    assert found.unfinished == "1 of 6 samples are missing"
    with io.StringIO() as out:
        Console(file=out, width=120).print(render(found))
        assert "NOT FINISHED: 1 of 6 samples are missing" in out.getvalue()
    assert (found.task, found.nominal) == ("t", 0.3)
    assert (found.overall.scored, found.overall.takeovers) == (11, 6)
    assert found.effects.takeovers == 5  # what an unfinished sample wrote is not recorded yet
    with pytest.raises(SettingError, match="no decisions of task 'x'; there are: t"):
        audit_path(path, task="x", force=True)


def test_runs_without_decisions_are_told(tmp_path):
    sample = sample_of([])
    with pytest.raises(SettingError, match="made no takeover decisions"):
        audit_path(run_dir(tmp_path, [sample]))


def test_nominal_rate_of_a_run():
    record = RunRecord(
        options={"rate": 0.2}, tasks={"a": {"options": {"rate": 0.4, "budget": "6/16"}}}
    )
    assert nominal_rate(record, "a") == 6 / 16
    assert nominal_rate(record, "b") == 0.2
    assert nominal_rate(RunRecord(options={"turns": 3}), "b") is None


def logged(number, doc, *right):
    """A line of a sample log of ours."""
    grades = [{"right": one, "answer": "1", "answers": {}} for one in right]
    document = {"doc_id": doc, "gold": "1"}
    return {"doc_id": number, "doc": document, "graded": grades, "resps": [["text"] * len(right)]}


def test_grades_come_from_sample_logs(tmp_path):
    log = tmp_path / "samples_atts_math500_2026-01-02T03-04-05.jsonl"
    rows = [
        logged(0, 40, True, False),
        logged(1, 41, False),
    ]
    log.write_text("\n".join(map(json.dumps, rows)))
    assert dict(grades_of_logs([log])) == {
        SampleId("atts_math500", 40, 0): True,
        SampleId("atts_math500", 40, 1): False,
        SampleId("atts_math500", 41, 0): False,
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.jsonl", "{}", "neither an lm-eval sample log nor published traces"),
        ("samples_t_1.jsonl", "{", "line 1 is not JSON"),
        (
            "samples_t_1.jsonl",
            '{"doc_id": 0, "doc": {"q": "?"}, "target": "1", "resps": [["1"]]}',
            "has no `graded` field",
        ),
    ],
)
def test_logs_that_hold_no_grades(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SettingError, match=message):
        list(grades_of_logs([path]))


PUBLISHED = {
    "question_index": 3,
    "repeat": 1,
    "gold": "5",
    "answer": "5.0",
    "turns": [
        {"turn": 0, "draft": "We </think>", "ppl": math.e, "percentile": 0.7, "target": "yes"},
        {"turn": 1, "draft": "", "unknown": 1},
    ],
}


def test_published_traces_are_records(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(PUBLISHED) + "\n\n").encode()))
    (record,) = records_of(path)
    assert record.id == SampleId("published", 3, 1)
    assert record.text == "We </think>\n\nyes\n\n"
    (decision,) = record.decisions
    assert (decision.nonconformity, decision.takeover) == (1.0, True)
    assert (decision.p_value, decision.threshold) == (pytest.approx(0.3), 0.4)
    assert grades_of(path) == {record.id: True}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "line 1: not a published trace"),
        (b"\x1f\x8bnot gzip", "not a published trace"),
        (
            b'{"question_index": 0, "repeat": 0, "turns": [{"turn": 0, "draft": "", "ppl": 0.0}]}',
            "a perplexity without a percentile",
        ),
    ],
)
def test_files_that_are_no_traces(content, message, tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=message):
        records_of(path)


def test_command(tmp_path):
    app = typer.Typer()
    app.callback()(lambda: None)
    audit_command(app)
    path = run_dir(tmp_path, [sample_of([("a", True, "b")], doc) for doc in range(3)])
    shown = CliRunner().invoke(app, ["audit", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "nominal rate 0.3" in shown.output
    (data,) = json.loads(CliRunner().invoke(app, ["audit", str(path), "--json"]).output)
    assert data["overall"]["takeovers"] == 3
    assert data["turns"][0]["name"] == "turn 0"


@needs_traces
def test_the_published_run():
    """Figures that were computed from the same files by other code."""
    found = audit(turns_of(records_of(TRACES)), task="published", nominal=0.4)
    rates = [round(row.rate.value, 2) for row in found.turns]
    assert rates == [
        0.40, 0.30, 0.39, 0.45, 0.48, 0.47, 0.48, 0.49, 0.47, 0.45, 0.41, 0.48, 0.56, 0.51, 0.61,
    ]  # fmt: skip
    assert round(found.overall.rate.value, 3) == 0.413
    assert [round(row.rate.value, 2) for row in found.phases] == [0.44, 0.18]
    assert [round(row.rate.value, 2) for row in found.answering] == [0.25, 0.45]
    ks = {row.name: round(row.ks.value, 2) for row in found.uniformity}
    assert (ks["turn 0"], ks["turn 1"]) == (0.03, 0.32)
    dependence = found.dependence
    assert round(dependence.after_takeover.rate.value, 2) == 0.61
    assert round(dependence.after_none.rate.value, 2) == 0.29
    assert (found.effects.takeovers, found.effects.empty) == (2507, 247)
    assert found.effects.empty_after_answer == 244
    assert (found.problems.never, found.problems.always) == (0.15, 0.14)
    assert len(list(turns_of_decisions([]))) == 0
