"""lm-eval's results files and sample logs, as its releases write them."""

import json

import pytest
from atts_lm_eval import results_file, sample_log

from atts_harness import plugins
from atts_harness.errors import SettingError

DATE = "2026-01-02T03-04-05.000000"


def write(folder, **changed):
    told = {
        "results": {"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.25}},
        "configs": {"gsm8k": {"metric_list": [{"metric": "exact_match"}], "repeats": 1}},
        "versions": {"gsm8k": 3.0},
        "n-samples": {"gsm8k": {"original": 1319, "effective": 4}},
        "config": {"model": "hf", "model_args": {"pretrained": "org/model"}},
        "chat_template": None,
    }
    path = folder / f"results_{DATE}.json"
    path.write_text(json.dumps(told | changed))
    return path


def log(folder, *rows, task="gsm8k"):
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def line(number, texts=("1",), **changed):
    row = {"doc_id": number, "doc": {"q": number}, "target": "1", "resps": [list(texts)]}
    return row | changed


def test_the_reader_comes_in_by_the_hook():
    assert [known.name for known in plugins.results_formats()] == ["lm-eval"]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model": "hf", "model_args": {"pretrained": "org/model"}}, "org/model"),
        ({"model": "hf", "model_args": "pretrained=org/model,dtype=float16"}, "org/model"),
        ({"model": "openai", "model_args": {"model": "gpt"}}, "gpt"),
        ({"model": "hf", "model_args": None}, "told"),
    ],
)
def test_the_model_is_named_as_each_release_names_it(tmp_path, config, name):
    found = results_file.read(write(tmp_path, config=config, model_name="told"))
    assert (found.model, found.name, found.run) == (config["model"], name, None)


def test_a_task_is_typed(tmp_path):
    log(tmp_path, *(line(n, filter="strict-match", exact_match=0.0) for n in range(4)))
    found = results_file.read(write(tmp_path)).tasks["gsm8k"]
    assert (found.problems, found.repeats, found.accuracy) == (4, 1, "exact_match,strict-match")
    assert not found.graded_here
    assert found.conditions.version == "3.0"
    assert [one.figures["exact_match"] for one in found.samples] == [0.0] * 4


def test_metrics_that_are_better_low_are_no_accuracy(tmp_path):
    told = {"t": {"word_perplexity,none": 0.5, "acc,none": 0.75}}
    better = {"t": {"word_perplexity": False, "acc": True}}
    path = write(tmp_path, results=told, configs={"t": {}}, higher_is_better=better)
    assert results_file.read(path).tasks["t"].accuracy == "acc,none"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"results": []}, "no `results`, `configs` and `config`"),
        ({"results": {}}, "holds no task's results"),
        ({"results": {"gsm8k": 5}}, "not a results file of lm-eval"),
        ({"configs": {"gsm8k": None}}, "not a results file of lm-eval"),
        ({"config": {"atts": {"schema": 99, "harness": "9.0"}}}, "version 9.0 of the harness"),
        ({"config": {"atts": [1]}}, "was written by a run of schema None"),
    ],
)
def test_files_that_are_none(tmp_path, changed, words):
    with pytest.raises(SettingError, match=r"\A[^\n]*\Z") as raised:
        results_file.read(write(tmp_path, **changed))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"doc_id": "x"}, "line 1 is not a sample of lm-eval's logs"),
        ({"resps": "text"}, "line 1 is not a sample"),
        ({"resps": [[[-1.5, True]]]}, "its answers are not texts"),
        ({"graded": [{"right": "yes"}]}, "line 1: "),
        ({"graded": []}, "has 1 answers and 0 grades"),
    ],
)
def test_lines_that_are_no_samples(tmp_path, row, words):
    path = log(tmp_path, line(0) | row)
    with pytest.raises(SettingError) as raised:
        list(sample_log.saved(path))
    assert words in str(raised.value)


def test_documents_that_know_their_numbers_keep_them(tmp_path):
    own = [line(n, doc={"doc_id": 7 * n}) for n in range(3)]
    path = log(tmp_path, *own)
    assert [one.question.doc for one in sample_log.saved(path)] == [0, 7, 14]
    path = log(tmp_path, *own, line(3, doc={"doc_id": 7}))  # two of one number: none counts
    assert [one.question.doc for one in sample_log.saved(path)] == [0, 1, 2, 3]


def test_tasks_with_underscores_keep_their_names(tmp_path):
    assert sample_log.saved(log(tmp_path, line(0), task="a_b_c")).task == "a_b_c"
