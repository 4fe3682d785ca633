"""lm-eval's own `gsm8k` and `minerva_math500` through our models, and a multiple-choice task.

Their YAML files are lm-eval's; only their rows are local, for no hub is asked: made-up ones, and
the first of the real ones where the shared test data is there.
"""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import lm_eval.tasks
import pytest
from atts_lm_eval.model import AttsLM
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

ROOT = Path(__file__).parents[3]
OWN = Path(lm_eval.tasks.__file__).parent
FILES = {
    "gsm8k": OWN / "gsm8k/gsm8k.yaml",
    "minerva_math500": OWN / "minerva_math/minerva_math500.yaml",
}
QUESTION = {"gsm8k": "question", "minerva_math500": "problem"}
COUNT = 3

MADE_UP = {
    "gsm8k": [
        {
            "question": f"Ann has {n} eggs and buys {n}. How many?",
            "answer": f"{n}+{n}\n#### {2 * n}",
        }
        for n in range(1010, 1016)
    ],
    "minerva_math500": [
        {
            "problem": f"What is ${n}$ halves?",
            "solution": rf"It is $\boxed{{\frac{{{n}}}{{2}}}}$.",
            "answer": rf"\frac{{{n}}}{{2}}",
            "subject": "Algebra",
            "level": 1,
            "unique_id": f"t/{n}",
        }
        for n in range(1, 6)
    ],
}
REAL = {"gsm8k": "gsm8k/test.jsonl", "minerva_math500": "math500/test.jsonl"}


def real_rows(task):
    folder = Path(os.environ.get("ATTS_SHARED_DIR", ROOT.parent / "shared")) / "data/benchmarks"
    if not folder.is_dir():
        pytest.skip(f"the shared test data is not at {folder}; set ATTS_SHARED_DIR")
    with (folder / REAL[task]).open(encoding="utf-8") as lines:
        return [json.loads(next(lines)) for _ in range(8)]


@pytest.fixture(params=["made up", "real"])
def local(request, tmp_path):
    """Makes lm-eval's task read local rows; returns its manager and the rows."""

    def make(task):
        if task == "minerva_math500" and not version("antlr4-python3-runtime").startswith("4.11"):
            pytest.skip("lm-eval's task needs pip install 'lm-eval[math]' (antlr4 4.11)")
        rows = MADE_UP[task] if request.param == "made up" else real_rows(task)
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (tmp_path / f"{task}.yaml").write_text(
            f"include: {FILES[task]}\ntask: {task}\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs:\n  data_files:\n    train: {file}\n    test: {file}\n",
            encoding="utf-8",
        )
        manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
        return manager, rows

    return make


@pytest.fixture
def evaluate(pair):
    models = []

    def run(task, manager, **kwargs):
        models.append(AttsLM(rate=0.0, stop_at_answer=False))
        return simple_evaluate(
            model=models[-1],
            tasks=[task],
            task_manager=manager,
            bootstrap_iters=0,
            **{"limit": COUNT, **kwargs},
        )

    yield run
    for model in models:
        model.close()


def knows(rows, key, says):
    """A draft that has learnt the rows by heart, and goes on after its answer as base models do."""

    def reply(asked):
        place, row = max((asked.text.rfind(row[key]), n) for n, row in enumerate(rows))
        assert place >= 0, asked.text
        return says(rows[row])

    return reply


def says_gsm8k(row):
    gold = row["answer"].rpartition("####")[2].strip()
    return f" It is so.\n#### {gold}\n\nQuestion: And 99999?\nAnswer: #### 99999"


def says_minerva(row):
    return (
        rf" So $\boxed{{{row['answer']}}}$. Final Answer: The final answer is ${row['answer']}$. "
        "I hope it is correct.\n\nProblem:\nWhat is 99999? The final answer is $99999$."
    )


SAYS = {"gsm8k": says_gsm8k, "minerva_math500": says_minerva}
METRICS = {
    "gsm8k": ["exact_match,strict-match", "exact_match,flexible-extract"],
    "minerva_math500": ["exact_match,none", "math_verify,none"],
}


@pytest.mark.parametrize(("shots", "chat"), [(0, True), (None, False), (None, True)])
@pytest.mark.parametrize("task", ["gsm8k", "minerva_math500"])
def test_right_answers_are_right_and_until_cuts(pair, evaluate, local, task, shots, chat):
    manager, rows = local(task)
    pair.draft.replies = knows(rows, QUESTION[task], SAYS[task])
    results = evaluate(task, manager, apply_chat_template=chat, num_fewshot=shots)
    assert {name: results["results"][task][name] for name in METRICS[task]} == dict.fromkeys(
        METRICS[task], 1.0
    )
    for sample in results["samples"][task]:
        assert "99999" not in sample["resps"][0][0]
    assert {served.request.sampling.temperature for served in pair.draft.served} == {0.0}


@pytest.mark.parametrize("task", ["gsm8k", "minerva_math500"])
def test_wrong_answers_are_wrong(pair, evaluate, local, task):
    manager, _ = local(task)
    wrong = {"answer": "#### 77777"}
    pair.draft.replies = lambda asked: SAYS[task](wrong)
    results = evaluate(task, manager)["results"][task]
    assert [results[name] for name in METRICS[task]] == [0.0, 0.0]


@pytest.mark.parametrize("task", ["gsm8k", "minerva_math500"])
def test_examples_and_system_words_reach_the_models_as_turns(pair, evaluate, local, task):
    manager, rows = local(task)
    pair.draft.replies = knows(rows, QUESTION[task], SAYS[task])
    shots = {"gsm8k": 5, "minerva_math500": 4}[task]
    evaluate(task, manager, apply_chat_template=True, system_instruction="Think.", limit=1)
    (served,) = pair.draft.served
    turns = re.findall(r"<\|(system|user|assistant)\|>", served.text)
    assert turns == ["system", *["user", "assistant"] * (shots + 1)]
    assert served.text.startswith("<|system|>Think.<|end|>")
    assert served.text.endswith("<|end|><|assistant|>")
    assert rows[0][QUESTION[task]] in served.text


@pytest.mark.parametrize("task", ["gsm8k", "minerva_math500"])
def test_without_a_chat_template_everything_is_one_users_text(pair, evaluate, local, task):
    manager, rows = local(task)
    pair.draft.replies = knows(rows, QUESTION[task], SAYS[task])
    evaluate(task, manager, system_instruction="Think.", limit=1)
    (served,) = pair.draft.served
    assert re.findall(r"<\|(system|user|assistant)\|>", served.text) == ["user", "assistant"]
    assert served.text.startswith("<|user|>Think.")
    assert served.text.count({"gsm8k": "Question:", "minerva_math500": "Problem:"}[task]) > 3


def test_until_of_the_command_line_cuts(pair, evaluate, local):
    manager, rows = local("gsm8k")
    pair.draft.replies = knows(rows, "question", says_gsm8k)
    results = evaluate("gsm8k", manager, gen_kwargs="until=so,temperature=0.5,do_sample=true")
    assert {sample["resps"][0][0] for sample in results["samples"]["gsm8k"]} == {" It is "}
    assert {served.request.sampling.temperature for served in pair.draft.served} == {0.5}


@pytest.mark.parametrize("chat", [False, True])
def test_multiple_choice_is_answered_by_the_targets_score(pair, evaluate, tmp_path, chat):
    rows = [
        {"q": f"Which is {n}?", "choices": [str(n + k) for k in (1, 0, 2, 3)], "right": 1}
        for n in range(4)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "which.yaml").write_text(
        f"task: which\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {file}\n"
        'test_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\n'
        'doc_to_choice: "{{choices}}"\ndoc_to_target: right\n'
        "metric_list:\n  - metric: acc\n  - metric: acc_norm\n",
        encoding="utf-8",
    )

    def score(asked):
        question = int(re.search(r"Which is (\d)\?", asked.text).group(1))
        segment = bytes(asked.ids[asked.request.start :]).decode()
        return 0.1 if int(segment) == question + (question == 3) else 2.0

    pair.target.scores = score
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    results = evaluate("which", manager, limit=None, apply_chat_template=chat)
    # The target prefers the right option in three of four.
    assert results["results"]["which"]["acc,none"] == 0.75
    assert results["results"]["which"]["acc_norm,none"] == 0.75
    assert not pair.draft.served
