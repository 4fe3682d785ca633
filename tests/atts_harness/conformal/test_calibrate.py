import asyncio

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from atts_harness.conformal import CalibrationOptions, Provenance, make_policy, read_bank
from atts_harness.conformal.calibrate import bank_from_decisions, bank_from_run, by_turn, too_small
from atts_harness.conformal.command import calibrate_command
from atts_harness.errors import RunDirError, SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.records import DecisionRecord, RunRecord, SampleId, SampleRecord
from atts_harness.strategy import RunInfo

MADE = Provenance(task="t", draft="small", target="large", stop=("\n\n",), draft_tokens=96)


def decision(doc, repeat, turn, s=1.0, *, task="t", reason="p-value"):
    return DecisionRecord(
        sample=SampleId(task, doc, repeat),
        turn=turn,
        takeover=False,
        reason=reason,
        nonconformity=s,
        p_value=None if s is None else 0.5,
    )


DECISIONS = [
    *(
        decision(doc, n, turn, s=doc + turn / 10 + n / 100)
        for doc in (4, 7)
        for n in range(3)
        for turn in range(2)
    ),
    decision(7, 0, 2, s=9.0),
    decision(7, 1, 2, s=None, reason="score-failed"),
    decision(7, 2, 2, s=None, reason="empty-draft"),
    decision(0, 0, 0, s=5.0, task="other"),
]  # fmt: skip


@pytest.fixture
def run_dir(tmp_path):
    """A finished run of task t, and an unfinished one of task `other`."""

    def make(*, finished=True, name="run", options=None):
        tasks = {
            "t": {"options": options or {"rate": 0.3}, "provenance": msgspec.to_builtins(MADE)}
        }
        record = RunRecord(strategy="atts", tasks=tasks, started_at="2026-01-01T00:00:00+00:00")
        mine = [d for d in DECISIONS if d.sample.task == "t"]
        ids = sorted({d.sample for d in mine})
        folder = RunDirectory(tmp_path / name)
        journal = folder.journal(record, dict.fromkeys(ids, Planned("hash")), command="lm_eval ...")

        async def write():
            for sequence, d in enumerate(mine, 1):
                journal.record_decision(msgspec.structs.replace(d, sequence=sequence))
            for id_ in ids if finished else ids[1:]:
                await journal.record_sample(
                    SampleRecord(id=id_, strategy="atts", text="", finish="answer")
                )

        asyncio.run(write())
        journal.close()
        folder.close()
        return tmp_path / name

    return make


def test_scores_of_a_task_by_turn(caplog):
    bank = bank_from_decisions(DECISIONS, task="t", provenance=MADE, rate=0.3)
    assert len(bank) == 13
    assert [(r.turn, r.scores, r.questions) for r in by_turn(bank)] == [
        (0, 6, 2),
        (1, 6, 2),
        (2, 1, 1),
    ]
    assert by_turn(bank)[0].least_rate == 1 / 7
    assert [row.turn for row in too_small(by_turn(bank), 0.3)] == [2]
    assert "2 turns have no score and are left out (1 empty-draft, 1 score-failed)" in caplog.text
    assert set(bank_from_decisions(DECISIONS, task="t", turns=1).turns) == {0}


def test_no_scores_is_told():
    with pytest.raises(SettingError, match="no turns of this task"):
        bank_from_decisions(DECISIONS, task="x")
    coins = [decision(0, 0, 0, s=None, reason="policy")]
    with pytest.raises(SettingError, match="decided without scores"):
        bank_from_decisions(coins, task="t")


def test_a_run_becomes_a_bank_that_fits_it(run_dir):
    bank = bank_from_run(run_dir())
    assert (bank.provenance, bank.rate, bank.evaluation_questions) == (MADE, 0.3, True)
    assert "2026-01-01" in bank.origin
    run = RunInfo(provenance=msgspec.to_builtins(MADE))
    policy = make_policy(CalibrationOptions(rate=0.3, coverage="conditional"), run, bank)
    assert policy.decide(9.5, SampleId("t", 7, 9), 0, 0.5).bank_size == 7
    assert bank_from_run(run_dir(name="b", options={"budget": "6/16", "rate": 0.4})).rate == 6 / 16


def test_an_unfinished_run_is_refused_unless_asked_for(run_dir):
    path = run_dir(finished=False)
    with pytest.raises(RunDirError, match=r"1 of 6 samples are missing \(t/4/0\)"):
        bank_from_run(path)
    assert len(bank_from_run(path, partial=True)) == 13


def test_a_task_that_is_not_there(run_dir):
    with pytest.raises(SettingError, match="no task 'x' in it; there are: t"):
        bank_from_run(run_dir(), "x")


def command(live=None):
    app = typer.Typer()
    app.callback()(lambda: None)
    calibrate_command(app, live)
    return lambda *args: CliRunner().invoke(app, ["calibrate", *map(str, args)])


def test_command_from_a_run(run_dir, tmp_path):
    path, out = run_dir(), tmp_path / "bank.npz"
    shown = command()(out, "--from-run", path, "--turns", 2)
    assert shown.exit_code == 0, shown.output
    assert len(read_bank(out)) == 12
    assert "least rate" in shown.output
    assert "cost of the run" in shown.output


def test_command_runs_a_task_on_other_questions(run_dir, tmp_path):
    path = run_dir()
    asked = []

    def live(request):
        asked.append(request)
        return "train"

    out = tmp_path / "bank.json"
    shown = command(live)(
        out, "--task", "t", "--model-args", "rate=0.3,draft=small", "--split", "train",
        "--repeats", 4, "--questions", 20, "--turns", 2, "--metadata", '{"a": 1}',
        "--run-dir", path,
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    (request,) = asked
    assert request.model_args == {"rate": "0.3", "draft": "small"}
    assert request.metadata == {"a": 1, "repeats": 4}
    assert (request.split, request.questions, request.turns) == ("train", 20, 2)
    assert not request.evaluation_questions
    bank = read_bank(out)
    assert (bank.split, bank.evaluation_questions, set(bank.turns)) == ("train", False, {0, 1})


def test_run_dir_lies_beside_the_bank(tmp_path):
    asked = []

    def live(request):
        asked.append(request.run_dir)
        raise SettingError("stop here")

    command(live)(tmp_path / "bank.json", "--task", "t")
    assert asked == [tmp_path / "bank.json.run"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["bank.txt", "--task", "t"], "a bank is .json or .npz"),
        (["nowhere/bank.json", "--task", "t"], "there is no folder nowhere"),
        (["bank.json"], "give --task TASK"),
        (["bank.json", "--task", "t"], "give --task TASK"),  # nothing here can run one
    ],
)
def test_command_line_that_makes_no_bank(args, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    failed = command()(*args)
    assert isinstance(failed.exception, SettingError)
    assert message in str(failed.exception)


def test_metadata_is_a_json_object(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for bad in ("{", "[1]"):
        failed = command(lambda request: "x")("b.json", "--task", "t", "--metadata", bad)
        assert "--metadata" in str(failed.exception)
