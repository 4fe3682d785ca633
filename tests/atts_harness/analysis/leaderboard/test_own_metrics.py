"""Rows of tasks that this project does not grade: their own metric counts."""

import pytest

from atts_harness.results.golds import METRIC, PROMPTS

from .conftest import always, board, edit, rewrite, rows_of


def foreign(folder, metric, filters=("none",), **changed):
    """Make a folder's results those of a task that is not ours."""
    log = next(folder.glob("samples_*.jsonl"))
    rows = rows_of(log)
    for row in rows:
        for name in ("graded", "pass@1", "maj@4", "maj@4_interval"):
            row.pop(name, None)
        row |= {"metrics": [metric], metric: float(row["doc_id"] % 2), **changed}
    rewrite(log, [{**row, "filter": name} for name in filters for row in rows])

    def change(told):
        value = sum(row[metric] for row in rows) / len(rows)
        figures = {f"{metric},{name}": value for name in filters}
        figures |= {f"{metric}_stderr,{name}": 0.2 for name in filters}
        told["results"]["t"] = {"alias": "t", **figures}
        told["configs"]["t"]["metric_list"] = [{"metric": metric, "higher_is_better": True}]

    edit(folder, change)
    return rows


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize(
    ("metric", "target"),
    [
        ("exact_match", "so it is\n#### 12"),
        ("prompt_level_strict_acc", 0),
        ("pass@1", "def check(f):\n    assert f(1) == 2"),
    ],
    ids=["gsm8k", "ifeval", "humaneval"],
)
def test_another_tasks_own_metric_is_its_accuracy(make_run, journal, metric, target):
    folder = make_run("target-only", lambda d, r: False, repeats=1, journal=journal)
    foreign(folder, metric, target=target)
    (row,) = board(folder).rows
    assert row.pass_1.value == 0.5
    assert row.pass_1.low is not None
    assert row.metric == f"{metric},none"
    assert row.conditions.extractor == f"{metric},none"
    assert f"accuracy is the task's own metric {metric}" in " ".join(row.notes)
    assert row.invalid is None


def test_a_tasks_own_metric_without_a_log_has_its_standard_error(make_run):
    folder = make_run("target-only", repeats=1, journal=False)
    foreign(folder, "exact_match")
    next(folder.glob("samples_*")).unlink()
    (row,) = board(folder).rows
    assert (row.pass_1.value, row.pass_1.stderr) == (0.5, 0.2)
    assert row.metric == "exact_match,none"


def test_a_metric_that_is_no_share_is_no_accuracy(make_run):
    folder = make_run("target-only", repeats=1, journal=False)
    foreign(folder, "bleu")
    edit(folder, lambda told: told["results"]["t"].update({"bleu,none": 31.5}))
    (row,) = board(folder).rows
    assert row.pass_1 is None
    assert row.pass_at == {}


def test_the_first_filter_of_the_first_metric_counts(make_run):
    folder = make_run("target-only", repeats=1, journal=False)
    foreign(folder, "exact_match", filters=("strict-match", "flexible-extract"))
    log = next(folder.glob("samples_*.jsonl"))
    rows = rows_of(log)
    for row in rows[6:]:
        row["exact_match"] = 1.0
    rewrite(log, rows)
    (row,) = board(folder).rows
    assert (row.problems, row.pass_1.value) == (6, 0.5)


def test_a_run_directory_of_another_task_is_not_graded_by_ours(make_run):
    folder = make_run("target-only", results=False, log=False)
    documents = [
        {
            "question": f"{n}?",
            "answer": f"#### {n}",
            PROMPTS: [f"prompt {n}"],
            METRIC: "exact_match",
        }
        for n in range(6)
    ]
    (row,) = board(folder, documents=lambda task: documents).rows
    assert row.pass_1 is None
    assert "grades by a metric of its own (exact_match)" in " ".join(row.notes)


@pytest.mark.parametrize("gold", [None, "", "  ", float("nan"), True, ["1"]])
def test_a_gold_that_is_none_is_an_error(make_run, gold):
    folder = make_run("target-only", always, results=False, log=False)

    def documents(task):
        return [{"prompt": "?", "gold": gold, PROMPTS: [f"prompt {n}"]} for n in range(6)]

    (row,) = board(folder, documents=documents).rows
    assert row.pass_1 is None
    assert "is not an answer that can be compared" in " ".join(row.notes)


def test_any_of_several_golds_counts(make_run):
    folder = make_run("target-only", always, results=False, log=False)

    def documents(task):
        return [
            {"prompt": "?", "answer": ["seven", str(n)], PROMPTS: [f"prompt {n}"]} for n in range(6)
        ]

    (row,) = board(folder, documents=documents).rows
    assert row.pass_1.value == 1.0


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_figures_that_are_no_numbers_are_not_known(make_run, value):
    folder = make_run("target-only", log=False, journal=False)
    file = next(folder.glob("results_*.json"))
    file.write_text(file.read_text().replace('"pass@1,all": 0.5', f'"pass@1,all": {value}'))
    (row,) = board(folder).rows
    assert row.pass_1 is None
    assert "accuracy is not known" in " ".join(row.notes)


def test_nan_in_a_sample_log_is_not_known(make_run):
    folder = make_run("target-only", repeats=1, journal=False)
    foreign(folder, "exact_match")
    log = next(folder.glob("samples_*.jsonl"))
    log.write_text(log.read_text().replace('"exact_match": 1.0', '"exact_match": NaN'))
    (row,) = board(folder).rows
    assert row.pass_1 is None or row.pass_1.value == 0.0
