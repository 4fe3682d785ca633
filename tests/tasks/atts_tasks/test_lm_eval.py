"""The tasks inside lm-eval, with a scripted model that is not one of this project."""

import json
import shutil
from types import SimpleNamespace

import pytest
from atts_tasks.task import AttsTask, interval
from lm_eval import evaluator
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

from atts_harness.analysis.statistics import clustered_mean
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.records import SampleId, SampleRecord

NAMES = {
    *(f"atts_{s}" for s in ("aime24", "aime25", "amc23", "math500", "olympiadbench", "gsm8k")),
    "atts_gpqa_diamond",
}
PAPER = {f"{name}_paper" for name in NAMES if name != "atts_gsm8k"}


class Scripted(LM):
    """Answers by a function of the document and the repeat."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.asked = []

    def generate_until(self, requests, disable_tqdm=False):
        seen = {}
        answers = []
        for request in requests:
            key = (request.task_name, request.doc_id)
            repeat = seen[key] = seen.get(key, -1) + 1
            self.asked.append(request)
            answers.append(self.answer(request.doc, repeat))
        return answers

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


class Recorded(str):
    """An answer with a sample's record, as our models return it."""

    record: SampleRecord


def recorded(text, **fields):
    answer = Recorded("" if fields.get("failed") else text)
    answer.record = SampleRecord(
        id=SampleId("t", 0, 0), strategy="s", text=text, finish="eos", **fields
    )
    return answer


def manager(tasks_folder, **metadata):
    return TaskManager(
        include_path=str(tasks_folder), include_defaults=False, metadata=metadata or None
    )


@pytest.fixture(scope="session")
def folder():
    import atts_tasks.plugin

    (found,) = atts_tasks.plugin.atts_task_dirs()
    return found


def evaluate(model, tasks, folder, limit=None, **metadata):
    """lm-eval's evaluation, without the survey of the machine that its command makes."""
    loaded = manager(folder, **metadata).load(tasks)
    return evaluator.evaluate(lm=model, task_dict=loaded, limit=limit, log_samples=True)


def test_tasks_are_found_by_name(folder):
    found = manager(folder)
    assert set(found.all_subtasks) >= NAMES
    assert set(found.all_subtasks) >= PAPER
    assert "atts_bench" in found.all_groups
    # What `lm_eval validate` checks.
    assert set(found.match_tasks([*NAMES, "atts_bench"])) == {*NAMES, "atts_bench"}


@pytest.fixture(scope="module")
def outcome(request, folder, rows):
    """One evaluation of three tasks at 4 repeats; what each test looks at is another part of it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ATTS_DATA_DIR", str(rows))
    patch.delenv("ATTS_GPQA_ZIP", raising=False)

    def answer(doc, repeat):
        number = sum(map(ord, doc["id"]))
        if doc["kind"] == "choice":
            return r"\boxed{A}"
        if number % 4 == repeat:
            return "I do not know."
        wrong = number % 3 == 0 and repeat < 3
        return rf"Hence \boxed{{{'x' if wrong else doc['gold']}}}."

    model = Scripted(answer)
    tasks = ["atts_aime24", "atts_gpqa_diamond_paper", "atts_olympiadbench"]
    yield model, evaluate(model, tasks, folder, limit=30, repeats=4), answer
    patch.undo()


def test_every_repeat_is_asked_for_and_graded(outcome):
    model, results, _ = outcome
    assert len(model.asked) == 3 * 30 * 4
    for task in results["results"]:
        assert results["results"][task]["graded,all"] == 120
        assert all(len(sample["graded"]) == 4 for sample in results["samples"][task])
        assert results["n-samples"][task]["effective"] == 30


def test_figures_are_the_mean_over_questions_with_its_clustered_error(outcome):
    _, results, answer = outcome
    found = results["results"]["atts_aime24"]
    shares = []
    for sample in results["samples"]["atts_aime24"]:
        texts = [answer(sample["doc"], repeat) for repeat in range(4)]
        right = [rf"{{{sample['doc']['gold']}}}" in text for text in texts]
        assert [grade["right"] for grade in sample["graded"]] == right
        shares.append(sum(right) / 4)
    expected = clustered_mean(shares, range(30), bounds=(0, 1))
    assert found["pass@1,all"] == pytest.approx(expected.value)
    assert found["pass@1_stderr,all"] == pytest.approx(expected.stderr)
    assert found["pass@1_interval,all"] == [round(expected.low, 4), round(expected.high, 4)]
    assert {"pass@2,all", "pass@4,all", "maj@4,all", "oracle_any@4,all"} <= found.keys()
    assert "pass@8,all" not in found
    assert found["invalid,all"] == 0.25
    assert found["oracle_any@4,all"] == found["pass@4,all"]


def test_a_model_of_strings_has_no_truncated_and_no_failed(outcome):
    _, results, _ = outcome
    assert not {"truncated,all", "failed,all"} & results["results"]["atts_aime24"].keys()


def test_a_constant_letter_is_the_same_at_every_k(outcome):
    _, results, _ = outcome
    found = results["results"]["atts_gpqa_diamond_paper"]
    right = [
        sample["doc"]["gold"] == "A" for sample in results["samples"]["atts_gpqa_diamond_paper"]
    ]
    for name in ("pass@1", "pass@2", "pass@4", "maj@4", "oracle_any@4"):
        assert found[f"{name},all"] == pytest.approx(sum(right) / 30)


def test_the_table_shows_it_and_the_results_are_json(outcome):
    _, results, _ = outcome
    table = make_table(results)
    assert "pass@1" in table
    assert "oracle_any@4" in table
    assert "disagree_regex" in table
    from lm_eval.utils import handle_non_serializable

    json.loads(json.dumps(results, default=handle_non_serializable))


def test_prompts_ask_for_steps_and_a_box(outcome):
    model, _, _ = outcome
    for request in model.asked:
        context, settings = request.args
        assert request.doc["question"] in context
        assert "blank line between steps" in context
        assert "\\boxed{}" in context
        assert settings["until"] == []
        assert settings["max_gen_toks"] == 15000
    choices = [r.args[0] for r in model.asked if r.doc["kind"] == "choice"]
    assert all(f"({letter}) " in context for context in choices for letter in "ABCD")


def test_records_reach_the_grader_and_hold_what_was_extracted(data, folder):
    kept = []

    def answer(doc, repeat):
        text = rf"\boxed{{{doc['gold']}}}"
        made = [
            recorded(text),
            recorded("cut", truncated=True),
            recorded(text, failed="timeout: engine"),
            recorded("none"),
        ][repeat]
        kept.append(made)
        return made

    found = evaluate(Scripted(answer), ["atts_amc23"], folder, limit=2, repeats=4)
    figures = found["results"]["atts_amc23"]
    assert figures["pass@1,all"] == 0.25
    assert figures["truncated,all"] == 0.25
    assert figures["failed,all"] == 0.25
    assert figures["invalid,all"] == 0.5
    assert kept[0].record.answers["boxed"] == kept[0].record.answers["regex"]
    assert kept[3].record.answers["boxed"] is None


def test_the_extractor_is_chosen_by_metadata(data, folder):
    model = Scripted(lambda doc, repeat: f"Answer: {doc['gold']}")
    boxed = evaluate(model, ["atts_amc23"], folder, limit=4, repeats=1)
    assert boxed["results"]["atts_amc23"]["pass@1,all"] == 0.0
    assert boxed["results"]["atts_amc23"]["invalid,all"] == 1.0
    chosen = evaluate(
        model, ["atts_amc23"], folder, limit=4, repeats=1, extractor="last_expression"
    )
    assert chosen["results"]["atts_amc23"]["pass@1,all"] == 1.0


def test_grading_what_explodes_does_not_end_the_run(data, folder):
    texts = [r"\boxed{" + "1" * 100_000 + "}", r"\boxed{\frac{" * 2000, "", r"\boxed{5}"]
    found = evaluate(
        Scripted(lambda doc, repeat: texts[repeat]), ["atts_amc23"], folder, limit=8, repeats=4
    )
    figures = found["results"]["atts_amc23"]
    assert figures["grading_error,all"] == 0.25
    assert figures["invalid,all"] == 0.5
    assert figures["pass@1,all"] == pytest.approx(1 / 32)


def test_a_gold_that_cannot_be_read_ends_before_anything_is_asked(
    data, folder, tmp_path, monkeypatch
):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path / "data"))
    rows = tmp_path / "data" / "amc23" / "test.jsonl"
    broken = [json.loads(line) for line in rows.read_text().splitlines()]
    broken[1]["answer"] = r"\frac{1}{"
    rows.write_text("".join(json.dumps(row) + "\n" for row in broken))
    model = Scripted(lambda doc, repeat: r"\boxed{5}")
    with pytest.raises(SettingError) as caught:
        evaluate(model, ["atts_amc23"], folder, limit=4, repeats=1)
    assert r"task atts_amc23: the gold '\\frac{1}{' of document" in str(caught.value)
    assert "--samples" in str(caught.value)
    assert model.asked == []
    # A row that does not run stops nothing.
    assert evaluate(model, ["atts_amc23"], folder, limit=1, repeats=1)["results"]


def test_what_no_rule_covers_is_counted_as_undecided(data, folder):
    texts = [r"\boxed{5 \mystery 7}", r"\boxed{-12345}", "", r"\boxed{1 2 3 4}"]
    found = evaluate(
        Scripted(lambda doc, repeat: texts[repeat]), ["atts_amc23"], folder, limit=2, repeats=4
    )
    figures = found["results"]["atts_amc23"]
    assert (figures["undecided,all"], figures["grading_error,all"]) == (0.5, 0.0)
    grades = found["samples"]["atts_amc23"][0]["graded"]
    assert [grade["undecided"] is None for grade in grades] == [False, True, True, False]


def test_the_group_has_all_sets_and_their_mean(data, folder):
    model = Scripted(lambda doc, repeat: rf"\boxed{{{doc['gold']}}}")
    results = evaluate(model, ["atts_bench"], folder, limit=2, repeats=1)
    assert set(results["results"]) == {"atts_bench", *NAMES}
    assert results["groups"]["atts_bench"]["pass@1,all"] == 1.0


def test_predict_only_grades_nothing(data, folder):
    loaded = manager(folder, repeats=2).load(["atts_amc23"])
    # What lm-eval does to a task for `--predict_only`.
    loaded["tasks"]["atts_amc23"].override_metric(metric_name="bypass")
    results = evaluator.evaluate(
        lm=Scripted(lambda doc, repeat: "x"), task_dict=loaded, limit=2, log_samples=True
    )
    assert len(results["samples"]["atts_amc23"][0]["resps"][0]) == 2
    assert "pass@1,all" not in results["results"]["atts_amc23"]


@pytest.mark.parametrize("repeats", [0, -1, "four", 2.5, True])
def test_repeats_are_checked(data, folder, repeats):
    with pytest.raises(SettingError, match=r"repeats: .* is not a positive integer"):
        manager(folder, repeats=repeats).load(["atts_amc23"])


def test_an_unknown_extractor_is_named(data, folder):
    with pytest.raises(UnknownSettingError, match="extractor: unknown extractor 'box'"):
        manager(folder, extractor="box").load(["atts_amc23"])


def test_missing_data_is_told_when_the_task_loads(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingError, match="ATTS_DATA_DIR"):
        manager(folder).load(["atts_math500"])


def test_sixteen_repeats_by_default(data, folder):
    task = manager(folder).load(["atts_aime25"])["tasks"]["atts_aime25"]
    assert isinstance(task, AttsTask)
    assert task.config.repeats == 16
    names = set(task.aggregation())
    assert {f"pass@{k}" for k in (1, 2, 4, 8, 16)} <= names
    assert {f"maj@{k}" for k in (4, 8, 16)} <= names
    assert task.higher_is_better()["invalid"] is False


def test_the_interval_of_one_question_is_its_figure():
    assert interval([0.5]) == [0.5, 0.5]


def test_a_task_without_a_record_type_takes_any_object_with_one():
    from atts_tasks.processing import sampled

    odd = Recorded("x")
    odd.record = SimpleNamespace(text="y")
    assert sampled(odd).text == "x"
