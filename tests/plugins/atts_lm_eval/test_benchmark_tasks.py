"""Our own tasks through our own model: documents keep their numbers, runs are graded again."""

import re

import pytest
from atts_lm_eval.documents import of_task
from atts_lm_eval.model import AttsLM
from atts_tasks import plugin as tasks
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.analysis.regrade.regrade import regrade
from atts_harness.errors import SettingError
from atts_harness.journal.reader import open_run
from atts_harness.results.find import saved_tasks

TASK = "atts_chain"
CHOSEN = [0, 2, 5]
METADATA = {"repeats": 2, "num_problems": 8}


@pytest.fixture
def evaluate(pair):
    plugins.manager().register(tasks)
    (folder,) = tasks.atts_task_dirs()
    models = []

    def run(model_args=None, metadata=METADATA, **kwargs):
        models.append(AttsLM(**{"rate": 0.0, "progress": "off", **(model_args or {})}))
        manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=metadata)
        try:
            return simple_evaluate(
                model=models[-1], tasks=[TASK], task_manager=manager, bootstrap_iters=0, **kwargs
            )
        finally:
            models[-1].close()

    return run


def seeds(pair):
    """The drafts' seeds by their question."""
    found = {}
    for served in pair.draft.served:
        question = re.search(r"<\|user\|>(.*?)<\|end\|>", served.text, re.DOTALL).group(1)
        found.setdefault(question, set()).add(served.request.seed)
    return found


def test_chosen_samples_keep_their_numbers_and_seeds(pair, evaluate, tmp_path):
    evaluate()
    whole = seeds(pair)
    pair.draft.served.clear()
    results = evaluate({"run_dir": str(tmp_path)}, samples={TASK: CHOSEN})
    assert [sample["doc_id"] for sample in results["samples"][TASK]] == CHOSEN
    assert [sample["doc"]["doc_id"] for sample in results["samples"][TASK]] == CHOSEN
    assert len(seeds(pair)) == len(CHOSEN)
    assert all(whole[question] == own for question, own in seeds(pair).items())
    with open_run(tmp_path) as run:
        assert sorted({sample.doc for sample in run.planned()}) == CHOSEN


def test_a_run_of_chosen_samples_is_continued_by_the_whole(pair, evaluate, tmp_path):
    evaluate({"run_dir": str(tmp_path)}, samples={TASK: CHOSEN})
    pair.draft.served.clear()
    evaluate({"run_dir": str(tmp_path)})
    assert len(seeds(pair)) == METADATA["num_problems"] - len(CHOSEN)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("system", [None, "Think."])
def test_a_run_directory_is_graded_by_its_questions_words(pair, evaluate, tmp_path, chat, system):
    pair.draft.replies = lambda asked: r"\boxed{7}"
    asked = {"apply_chat_template": chat, "system_instruction": system}
    results = evaluate({"run_dir": str(tmp_path)}, samples={TASK: CHOSEN}, **asked)

    def documents(task):
        # In another order than the run's: numbers tell nothing.
        return of_task(task, system_instruction=system, metadata=METADATA)[::-1]

    (result,) = regrade(saved_tasks(tmp_path, documents))
    golds = [sample["doc"]["answer"] for sample in results["samples"][TASK]]
    assert [question.question.gold for question in result.questions] == golds
    assert result.figures["pass@1"]["value"] == results["results"][TASK]["pass@1,all"]
    with pytest.raises(SettingError, match=r"3 of 3 questions of the run, .* --system-instruction"):
        saved_tasks(tmp_path, lambda task: of_task(task, "Other words.", METADATA))
    with pytest.raises(SettingError, match="the first of them document 5"):
        saved_tasks(tmp_path, lambda task: of_task(task, system, {"num_problems": 3}))


def test_a_models_extraction_grades_in_a_live_run(pair, evaluate, chat_endpoint):
    pair.draft.replies = lambda asked: "Seven, I think."
    chat_endpoint.answer = lambda words: (200, "ANSWER: 7") if "Seven" in words else (500, "no")
    results = evaluate({"extractor": "llm"}, {**METADATA, "extractor": "llm"}, limit=2)
    figures = results["results"][TASK]
    golds = [sample["doc"]["answer"] for sample in results["samples"][TASK]]
    assert figures["pass@1,all"] == sum(gold == "7" for gold in golds) / 2
    assert figures["invalid,all"] == 0.0
    assert "disagree_boxed,all" not in figures  # no text has a box
    assert len(chat_endpoint.seen) == 4
    info = results["config"]["atts"]
    assert info["statistics"][TASK]["llm_extraction"] == {"extracted": 4, "failed": 0}
    assert info["run"]["ledger"]["calls"]["extractor/judge"]["calls"] == 4
    answers = [
        grade["answers"] for sample in results["samples"][TASK] for grade in sample["graded"]
    ]
    assert all(found["llm"] == "7" and found["boxed"] is None for found in answers)


def test_a_models_extraction_stands_beside_the_box(pair, evaluate, chat_endpoint):
    pair.draft.replies = lambda asked: r"So \boxed{8}."
    results = evaluate({"extractor": "boxed+llm"}, {**METADATA, "extractor": "boxed+llm"}, limit=2)
    figures = results["results"][TASK]
    assert figures["disagree_llm,all"] == 1.0
    assert {
        (grade["answer"], grade["answers"]["llm"])
        for sample in results["samples"][TASK]
        for grade in sample["graded"]
    } == {("8", "5")}


def test_extractions_that_failed_are_counted_in_the_results(pair, evaluate, chat_endpoint):
    chat_endpoint.replies = [(401, "no such key")]
    results = evaluate({"extractor": "llm"}, {**METADATA, "extractor": "llm"}, limit=2)
    figures = results["results"][TASK]
    assert (figures["grading_error,all"], figures["pass@1,all"]) == (1.0, 0.0)
    assert results["config"]["atts"]["statistics"][TASK]["llm_extraction"] == {
        "extracted": 0,
        "failed": 4,
        "why": {"BadRequestError": 4},
    }
