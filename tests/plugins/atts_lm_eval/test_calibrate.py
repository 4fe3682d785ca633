"""`atts calibrate` through lm-eval, on the scripted pair."""

import functools
import json

import lm_eval.tasks
import pytest
import typer
from atts_lm_eval.calibrate import run_task
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

from atts_harness.conformal import read_bank
from atts_harness.conformal.command import calibrate_command
from atts_harness.errors import SettingError
from atts_harness.testing.scripted import Says, ScriptedBackend

YAML = """
task: sums
custom_dataset: !function rows.build
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "42"
repeats: 2
generation_kwargs: {until: [], max_gen_toks: 64}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
ROWS = """
def build(**_):
    import datasets

    def questions(*numbers):
        return datasets.Dataset.from_list([{"q": f"{n} + {42 - n}?"} for n in numbers])

    return {"test": questions(0, 1, 2, 3), "train": questions(2, 5, 6)}
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    # lm-eval reads thousands of files for its own tasks; none of them is asked for here.
    alone = functools.partial(TaskManager, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", alone)
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "sums.yaml").write_text(YAML)
    (folder / "rows.py").write_text(ROWS)
    return folder


@pytest.fixture
def calibrate(pair, tasks, tmp_path):
    """Two turns a sample; the second has the answer. Scores follow the question."""
    pair.draft = ScriptedBackend(
        lambda asked: Says(r"\boxed{42}" if "Hm." in asked.text else "Hm.", ending="length"),
        role="draft",
    )
    pair.target = ScriptedBackend(
        lambda asked: Says(" Yes.", ending="length"),
        lambda asked: float(asked.text.count("Hm.")) + asked.text.count("5 +") / 8,
    )
    app = typer.Typer()
    app.callback()(lambda: None)
    calibrate_command(app, run_task)

    def run(*args, out="bank.json"):
        words = ["calibrate", tmp_path / out, "--task", "sums", "--include-path", tasks, *args]
        result = CliRunner().invoke(app, list(map(str, words)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return read_bank(tmp_path / out)

    return run


def test_another_split_without_the_evaluations_questions(calibrate):
    bank = calibrate("--split", "train")
    assert bank.split == "train"
    assert not bank.evaluation_questions
    # `2 + 40?` is in both splits: left out. Two questions, two repeats, two turns.
    assert sorted(bank.turns) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert len(set(bank.questions)) == 2
    assert bank.provenance.task == "sums"
    assert bank.provenance.draft == "scripted-draft"
    assert bank.rate == 0.4
    # One `Hm.` on turn 0, one more token on turn 1 for the question of the five.
    assert set(bank.nonconformities) == {1.0, 1.125}


def test_first_turns_cost_no_takeover(calibrate, pair):
    bank = calibrate("--split", "train", "--turns", 1)
    assert set(bank.turns) == {0}
    asked = [served.request for served in pair.target.served]
    assert {type(request).__name__ for request in asked} == {"ScoreRequest"}


def test_the_evaluations_own_questions_only_when_asked(calibrate):
    with pytest.raises(SettingError, match="all 4 questions are the evaluation's; give --split"):
        calibrate()
    assert len(set(calibrate("--evaluated", 3, out="a.json").questions)) == 1
    bank = calibrate("--evaluation-questions", "--questions", 2, out="b.json")
    assert bank.evaluation_questions
    assert len(set(bank.questions)) == 2


def test_what_is_done_is_not_done_again(calibrate, pair, tmp_path):
    first = calibrate("--split", "train")
    served = len(pair.draft.served)
    assert calibrate("--split", "train").nonconformities == first.nonconformities
    assert len(pair.draft.served) == served
    (run,) = tmp_path.glob("bank.json.run/journal.sqlite3")
    assert run.stat().st_size > 0


def test_names_that_are_not_there(calibrate):
    with pytest.raises(SettingError, match="--split dev: sums has test, train"):
        calibrate("--split", "dev")
    with pytest.raises(SettingError, match="--task nothing: no such task"):
        calibrate("--task", "nothing")


def test_bank_of_the_run_is_not_used_to_make_one(calibrate, tmp_path):
    bank = calibrate("--split", "train", "--model-args", f"rate=0.5,bank={tmp_path}/none.json")
    assert bank.rate == 0.5
    assert json.loads((tmp_path / "bank.json").read_text())["rate"] == 0.5
