"""inspect_ai's own command with the provider: the texts are those of `lm_eval --model atts`."""

import json

import pytest

from tests.frameworks.conftest import (
    MODEL,
    PROBLEMS,
    REPEATS,
    TASK,
    command_of,
    run,
    told,
)


def evaluate(where, *options):
    """Run `inspect eval`; the log."""
    args = [word for name, value in MODEL.items() for word in ("-M", f"{name}={value}")]
    run(
        [
            *(command_of("inspect", "inspect"), "eval", "atts_harness/chain"),
            *("--model", "atts/atts", *args, "--limit", str(PROBLEMS)),
            *("--display", "plain", "--log-dir", "logs", "--log-format", "json", *options),
        ],
        where,
    )
    return json.loads(max(where.glob("logs/*.json")).read_text())


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """An evaluation that is recorded in a run directory."""
    where = tmp_path_factory.mktemp("inspect")
    return where, evaluate(where, "-T", f"repeats={REPEATS}", "-M", "run_dir=run")


def texts(log):
    return {
        (sample["id"], sample["epoch"] - 1): sample["output"]["metadata"]["atts"]["text"]
        for sample in log["samples"]
    }


def test_texts_and_grades_are_those_of_lm_eval(log, reference, capsys):
    _, evaluated = log
    assert evaluated["status"] == "success"
    found = texts(evaluated)
    same = sum(found[name] == text for name, text in reference.texts.items())
    (score,) = evaluated["results"]["scores"]
    accuracy = score["metrics"]["accuracy"]["value"]
    told(
        "inspect_ai",
        capsys,
        equal=f"{same}/{PROBLEMS * REPEATS}",
        accuracy=f"{accuracy:.4f}",
        lm_eval=f"{reference.accuracy:.4f}",
    )
    assert found == reference.texts
    assert accuracy == pytest.approx(reference.accuracy)


def test_turns_and_decisions_are_in_the_log(log):
    _, evaluated = log
    for sample in evaluated["samples"]:
        turns = [event["data"] for event in sample["events"] if event["event"] == "info"]
        facts = sample["output"]["metadata"]["atts"]
        assert len(turns) == facts["turns"]
        assert sum("decision" in turn for turn in turns) == facts["judged_turns"]
        kept = [one["text"] for turn in turns for one in turn["segments"] if one["kept"]]
        assert "".join(kept).startswith(facts["text"])


def test_a_second_run_takes_every_sample_from_the_run_directory(log):
    from atts_harness.journal.reader import open_run

    where, evaluated = log
    with open_run(where / "run") as recorded:
        calls = sum(1 for _ in recorded.call_figures())
        assert {record.id.task for record in recorded.samples()} == {TASK}
    again = evaluate(where, "-T", f"repeats={REPEATS}", "-M", "run_dir=run")
    assert texts(again) == texts(evaluated)
    with open_run(where / "run") as recorded:
        assert sum(1 for _ in recorded.call_figures()) == calls


def test_the_packages_unit_tests_pass(tmp_path):
    from tests.frameworks.conftest import ROOT

    python = command_of("inspect", "python")
    tests = str(ROOT / "tests" / "plugins" / "atts_inspect")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    said = run(command, ROOT, HOME=str(tmp_path))
    assert "skipped" not in said
