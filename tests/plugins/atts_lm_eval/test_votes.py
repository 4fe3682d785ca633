"""A vote that cannot be taken is one line, before a single call is made."""

from pathlib import Path

import atts_tasks
import datasets
import pytest
from atts_lm_eval.model import AttsLM
from atts_votes import plugin as votes
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.backend import Capabilities
from atts_harness.errors import SettingError

CHAIN = "atts_chain_easy"


def one_question(**_):
    return {"test": datasets.Dataset.from_list([{"q": "Say something."}])}


OPEN = {
    "task": "open",
    "custom_dataset": one_question,
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{q}}",
    "doc_to_target": "anything",
    "generation_kwargs": {"max_gen_toks": 64},
}
CANNOT = [
    ({"strategy": "self-consistency"}, OPEN, "task open: its answers are open"),
    ({"strategy": "esc"}, CHAIN, "asks for 3 samples .* needs 5 at least .*window"),
    ({"strategy": "deepconf"}, CHAIN, "asks for 3 samples .* needs 17 at least .*warmup"),
    ({"strategy": "esc", "most": 4}, CHAIN, "most=4: esc needs 5 samples at least"),
    ({"strategy": "esc", "inner": "esc"}, CHAIN, "inner=esc: is a vote itself"),
]  # fmt: skip


@pytest.fixture
def evaluate(pair):
    plugins.discovery().manager.register(votes)
    folder = str(Path(atts_tasks.__file__).parent / "chain")
    metadata = {"num_problems": 2, "repeats": 3}

    def run(task, **model_args):
        model = AttsLM(inner=model_args.pop("inner", "target-only"), **model_args)
        try:
            manager = TaskManager(include_path=folder, include_defaults=False, metadata=metadata)
            return simple_evaluate(
                model=model, tasks=[task], task_manager=manager, limit=2, bootstrap_iters=0
            )
        finally:
            model.close()

    return run


@pytest.mark.parametrize(
    ("given", "task", "said"), CANNOT, ids=[said[:20] for _, _, said in CANNOT]
)
def test_what_cannot_be_voted_on_is_one_line_before_the_first_call(
    evaluate, pair, given, task, said
):
    with pytest.raises(SettingError, match=said) as caught:
        evaluate(task, **given)
    assert "\n" not in str(caught.value)
    assert not [*pair.draft.served, *pair.target.served]


def test_a_server_without_enough_candidates_is_one_line_before_the_first_call(evaluate, pair):
    pair.target.capabilities = Capabilities(top_logprobs=5)
    with pytest.raises(SettingError, match=r"target: .*deepconf needs the 20 likeliest") as caught:
        evaluate(CHAIN, strategy="deepconf", warmup=2)
    assert "\n" not in str(caught.value)
    assert not pair.target.served


def test_the_rows_figure_is_the_vote_beside_pass_1(evaluate, pair):
    pair.target.replies = lambda asked: rf"\boxed{{{asked.number % 3 // 2}}}"  # two of three agree
    figures = evaluate(CHAIN, strategy="self-consistency")["results"][CHAIN]
    assert {"vote,all", "pass@1,all", "drawn,all"} <= figures.keys()
    assert figures["drawn,all"] == 3
