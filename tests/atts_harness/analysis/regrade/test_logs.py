"""Regrading sample logs: which documents, golds and extractors count."""

import json

import pytest
from typer.testing import CliRunner

from atts_harness.analysis.regrade.regrade import Means, regrade, summary
from atts_harness.errors import SettingError
from atts_harness.results.find import saved_tasks

from .conftest import command, read


def log_row(number, texts, **more):
    return {
        "doc_id": number,
        "doc": {"question": "?", "answer": f"so\n#### {number}"},
        "target": str(number),
        "arguments": [],
        "resps": [texts],
        "filtered_resps": [texts[0]],
        "filter": "strict-match",
        "exact_match": 0.0,
        **more,
    }


def test_plain_sample_logs_of_other_models(tmp_path):
    log = tmp_path / "model" / "samples_gsm8k_2026-11-22T10-00-00.000000.jsonl"
    log.parent.mkdir()
    older = log.with_name("samples_gsm8k_2026-11-21T10-00-00.000000.jsonl")
    older.write_text(json.dumps(log_row(9, ["no"])) + "\n")
    rows = [
        log_row(3, ["The answer is 3."]),
        log_row(4, ["The answer is 5."]),
        # The same documents under another filter hold the same texts.
        log_row(3, ["The answer is 3."], filter="flexible-extract"),
        log_row(4, ["The answer is 5."], filter="flexible-extract"),
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (result,) = regrade(read(tmp_path), Means("last_expression"))
    assert result.task == "gsm8k"
    assert [q.question.name for q in result.questions] == ["3", "4"]
    assert result.figures["pass@1"]["value"] == 0.5


def test_logs_of_our_tasks_bring_records_and_golds(tmp_path):
    doc = {"id": "a", "question": "?", "gold": "$1$,$2$", "kind": "maths", "several": True,
           "tolerance": None, "unit": None, "choices": []}  # fmt: skip
    graded = [
        {"answer": "1, 2", "answers": {"boxed": "1, 2", "llm": "2, 1"}, "truncated": False,
         "failed": ""},
        {"answer": None, "answers": {"boxed": None, "llm": None}, "truncated": True, "failed": ""},
        {"answer": None, "answers": {}, "truncated": False, "failed": "timeout"},
    ]  # fmt: skip
    row = log_row(0, [r"\boxed{2, 1}", "cut", ""], doc=doc, graded=graded)
    (tmp_path / "samples_atts_x_2026.jsonl").write_text(json.dumps(row) + "\n")
    (result,) = regrade(read(tmp_path), Means("llm"))
    assert result.task == "atts_x"
    assert [g.right for g in result.grades[0]] == [True, False, False]
    assert result.figures["truncated"]["value"] == pytest.approx(1 / 3)
    assert result.figures["failed"]["value"] == pytest.approx(1 / 3)
    assert result.questions[0].original == {0: "1, 2", 1: None, 2: None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "empty"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", "[]\n", "not an object"),
        ("a.jsonl", '{"x": 1}\n', "neither an lm-eval sample log nor published traces"),
    ],
)
def test_files_that_are_no_runs(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingError, match=message):
        read(tmp_path / name)


def test_an_empty_folder(tmp_path):
    with pytest.raises(SettingError, match="nothing to grade"):
        read(tmp_path)


def written(tmp_path, *rows, task="gsm8k", folder="model"):
    log = tmp_path / folder / f"samples_{task}_2026-11-22T10-00-00.000000.jsonl"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return log


def test_documents_of_one_id_are_as_many_questions(tmp_path):
    """Their own `id` names them for people and merges nothing: three of four were lost by it."""
    rows = [
        log_row(n, ["The answer is 3."], doc={"id": "same", "gold": str(n)}, target=None)
        for n in range(4)
    ]
    (result,) = regrade(saved_tasks(written(tmp_path, *rows)), Means("last_expression"))
    assert len(result.questions) == 4
    assert result.figures["pass@1"]["value"] == 0.25


def test_two_runs_of_one_task_are_not_put_together(tmp_path):
    for folder, answer in (("a", "3"), ("b", "5")):
        written(tmp_path, log_row(3, [f"The answer is {answer}."]), folder=folder)
    results = regrade(saved_tasks(tmp_path), Means("last_expression"))
    found = {result.task: result.figures["pass@1"]["value"] for result in results}
    assert found == {"gsm8k (a)": 1.0, "gsm8k (b)": 0.0}
    assert summary(results).keys() == found.keys()


def test_a_smaller_log_does_not_stand_for_a_larger_one(tmp_path):
    log = written(tmp_path, log_row(1, ["1"]), log_row(2, ["2"]))
    newer = log.with_name(log.name.replace("11-22", "11-23"))
    newer.write_text(json.dumps(log_row(1, ["1"])) + "\n")
    with pytest.raises(SettingError, match=r"has 1 documents, the older .* has 2; give one"):
        saved_tasks(tmp_path)


@pytest.mark.parametrize("gold", [None, "", float("nan"), {"a": 1}])
def test_a_gold_that_is_none_is_an_error(tmp_path, gold):
    log = written(tmp_path, log_row(0, ["None"], doc={"gold": gold}, target=None))
    with pytest.raises(SettingError, match=r"line 1: document 0: the gold .* is not an answer"):
        regrade(saved_tasks(log))


@pytest.mark.parametrize(
    "targets",
    [[0, 0, 0], ["def check(f):\n    assert f(1)"] * 2, [{"a": 1}, {"b": 2}], [[], []]],
    ids=["constant", "program", "object", "empty list"],
)
def test_a_task_without_golds_has_no_invented_accuracy(tmp_path, targets):
    rows = [log_row(n, ["text"], doc={"q": n}, target=target) for n, target in enumerate(targets)]
    (result,) = regrade(saved_tasks(written(tmp_path, *rows)))
    assert result.figures == {}
    assert "no gold that this grader can read" in result.ungraded
    for how in (["--dry-run"], ["--out", str(tmp_path / "out")]):
        shown = CliRunner().invoke(command(), ["regrade", str(tmp_path), *how])
        assert shown.exit_code == 0, shown.output
        assert "are not graded" in shown.output
        assert "0.0000" not in shown.output
    assert (tmp_path / "out" / "regraded-boxed.jsonl").read_text() == ""
    told = json.loads((tmp_path / "out" / "regraded-boxed.json").read_text())
    assert "pass@1" not in told["gsm8k"]


def test_any_of_several_golds_makes_an_answer_right(tmp_path):
    row = log_row(0, [r"\boxed{8}", r"\boxed{9}"], doc={"q": "?"}, target=["7", "8"])
    (result,) = regrade(saved_tasks(written(tmp_path, row)))
    assert [grade.right for grade in result.grades[0]] == [True, False]
    assert result.extractors["boxed"]["value"] == 0.5


def test_an_extractor_that_was_never_asked_has_an_empty_cell(tmp_path):
    log = written(tmp_path, log_row(1, [r"\boxed{1}"]))
    (result,) = regrade(saved_tasks(log), Means("llm"))
    assert result.figures["pass@1"]["value"] is None
    assert result.extractors["llm"] == {**dict.fromkeys(result.figures["pass@1"]), "samples": 0}


def test_an_extractor_counts_where_it_was_asked(tmp_path):
    graded = [
        {"right": True, "answer": "1", "answers": {"boxed": "1", "llm": "1"}, "failed": ""},
        {"right": True, "answer": "1", "answers": {"boxed": "1"}, "failed": ""},
    ]
    log = written(tmp_path, log_row(1, [r"\boxed{1}"] * 2, graded=graded))
    (result,) = regrade(saved_tasks(log))
    assert (result.extractors["llm"]["value"], result.extractors["llm"]["samples"]) == (1.0, 1)
    assert result.extractors["boxed"]["samples"] == 2
