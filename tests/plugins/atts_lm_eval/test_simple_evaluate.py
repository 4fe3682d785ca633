"""Through lm-eval itself, from Python: repeats, limits, logs, output-only runs, other types."""

import json

import pytest
from atts_lm_eval.model import AttsLM
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable

from atts_harness.errors import SettingError


def task(**overrides):
    """Four sums in memory; the right answer is always 42."""

    def rows(**_):
        import datasets

        return {"test": datasets.Dataset.from_list([{"q": f"{n} + {42 - n}?"} for n in range(4)])}

    return {
        "task": "sums",
        "custom_dataset": rows,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": r"\boxed{42}",
        "generation_kwargs": {"until": ["###"], "max_gen_toks": 64},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": "boxed",
                "filter": [
                    {"function": "regex", "regex_pattern": r"(\\boxed\{\d+\})"},
                    {"function": "take_first"},
                ],
            }
        ],
        **overrides,
    }


@pytest.fixture
def evaluate(pair):
    models = []

    def run(task_config=None, model_args=None, **kwargs):
        models.append(AttsLM(**{"rate": 0.0, **(model_args or {})}))
        return simple_evaluate(
            model=models[-1],
            tasks=[task_config or task()],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            **kwargs,
        )

    yield run
    for model in models:
        model.close()


def samples_run(pair):
    return len({served.request.seed for served in pair.draft.served})


def test_results_carry_metrics_and_the_run(pair, evaluate):
    results = evaluate()
    assert results["results"]["sums"]["exact_match,boxed"] == 1.0
    info = results["config"]["atts"]
    assert info["strategy"] == "atts"
    assert info["statistics"]["sums"]["samples"] == 4
    json.dumps(results, default=handle_non_serializable)


def test_repeats_come_back_under_their_document(pair, evaluate):
    pair.draft.replies = lambda asked: rf"n={asked.number}; \boxed{{42}}"
    results = evaluate(task(repeats=3))
    assert [len(sample["resps"][0]) for sample in results["samples"]["sums"]] == [3] * 4
    responses = [r for sample in results["samples"]["sums"] for r in sample["resps"][0]]
    assert len(set(responses)) == 12
    assert [r.record.id.repeat for r in responses] == [0, 1, 2] * 4
    assert samples_run(pair) == 12


def test_limit_and_samples(pair, evaluate):
    assert len(evaluate(limit=2)["samples"]["sums"]) == 2
    chosen = evaluate(samples={"sums": [1, 3]})["samples"]["sums"]
    assert [sample["doc"]["q"] for sample in chosen] == ["1 + 41?", "3 + 39?"]


def test_logged_samples_are_json(pair, evaluate):
    for sample in evaluate()["samples"]["sums"]:
        again = json.loads(json.dumps(sample, default=handle_non_serializable))
        assert again["resps"] == [[r"So \boxed{42}."]]


def test_messages_are_logged_with_the_chat_template(pair, evaluate):
    results = evaluate(apply_chat_template=True, system_instruction="Think.", limit=1)
    (sample,) = results["samples"]["sums"]
    assert json.loads(sample["arguments"][0][0]) == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "0 + 42?"},
    ]
    assert pair.draft.served[0].text.startswith("<|system|>Think.<|end|><|user|>0 + 42?")


def test_few_shot_examples_become_turns(pair, evaluate):
    shots = {"samples": [{"q": "1 + 1?"}], "sampler": "first_n"}
    evaluate(task(fewshot_config=shots), num_fewshot=1, limit=1, apply_chat_template=True)
    assert pair.draft.served[0].text == (
        r"<|user|>1 + 1?<|end|><|assistant|>\boxed{42}<|end|><|user|>0 + 42?<|end|><|assistant|>"
    )


def test_predict_only(pair, evaluate):
    results = evaluate(predict_only=True)
    assert results["results"]["sums"]["bypass,boxed"] == 999
    assert len(results["samples"]["sums"]) == 4


def test_gen_kwargs_join_the_tasks_settings(pair, evaluate):
    pair.draft.replies = lambda asked: "word " * 100
    evaluate(gen_kwargs="max_gen_toks=7,temperature=0.5", limit=1)
    request = pair.draft.served[0].request
    assert (request.max_tokens, request.sampling.temperature) == (7, 0.5)


def test_a_misspelt_gen_kwarg_names_the_nearest(pair, evaluate):
    with pytest.raises(SettingError, match=r"generation_kwargs of sums: .* did you mean draft_tok"):
        evaluate(gen_kwargs="draft_token=7")


def test_the_response_cache_is_refused(pair, evaluate, tmp_path):
    with pytest.raises(SettingError, match="--use_cache"):
        evaluate(use_cache=str(tmp_path / "cache"))
    assert not pair.draft.served


def test_multiple_choice_is_answered_by_the_targets_score(pair, evaluate):
    def score(asked):
        segment = bytes(asked.ids[asked.request.start :]).decode()
        return 0.1 if segment.strip() == "right" else 2.0

    pair.target.scores = score
    results = evaluate(
        task(
            output_type="multiple_choice",
            doc_to_choice=["wrong", "right", "worse"],
            doc_to_target=1,
            generation_kwargs=None,
            filter_list=None,
            metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        )
    )
    assert results["results"]["sums"]["acc,none"] == 1.0
    assert not pair.draft.served
