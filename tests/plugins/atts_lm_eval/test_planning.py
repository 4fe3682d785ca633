"""From lm-eval's requests to problems and samples, and from `generation_kwargs` to settings."""

import pytest
from atts_lm_eval.planning import document_ids, make_plan

from atts_harness.errors import SettingError
from atts_harness.records import SampleId
from atts_harness.settings import parse_settings
from atts_harness.strategy import RunInfo


@pytest.fixture
def plan(pair):
    made = []

    def run(requests, **args):
        settings = parse_settings({"strategy": "draft-only", **args})

        def make_strategy(task, provenance):
            made.append((task, provenance))
            return settings.strategy(settings.options(task), RunInfo())

        return make_plan(requests, settings, make_strategy)

    run.made = made
    return run


def test_repeats_of_a_document_are_numbered_even_if_they_come_apart(plan, ask):
    first, second = ask("a", doc=0), ask("b", doc=1)
    made = plan([first, second, first])
    assert made.order == (SampleId("sums", 0, 0), SampleId("sums", 1, 0), SampleId("sums", 0, 1))
    assert [[s.id.repeat for s in group.samples] for group in made.groups] == [[0, 1], [0]]


def test_a_documents_further_questions_are_problems_of_their_own(plan, ask):
    made = plan([ask("a"), ask("b", idx=1)])
    assert [group.problem.task for group in made.groups] == ["sums", "sums#1"]


def test_equal_questions_have_equal_prompt_hashes(plan, ask):
    hashes = [
        g.problem.prompt_hash for g in plan([ask("a"), ask("a", doc=1), ask("b", doc=2)]).groups
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_one_strategy_a_task(plan, ask):
    made = plan([ask("a"), ask("b", doc=1), ask("c", task="other", draft_tokens=3)])
    assert len({id(group.strategy) for group in made.groups}) == 2
    assert [provenance["task"] for _, provenance in plan.made] == ["sums", "other"]
    assert made.groups[2].strategy.options.draft_tokens == 3


def test_stop_at_answer_is_an_option(plan, ask):
    (searched,) = plan([ask()]).groups
    assert searched.problem.answered(r"\boxed{1}")
    (plain,) = plan([ask()], stop_at_answer=False).groups
    assert plain.problem.answered is None


def test_documents_are_named_by_lm_evals_number(ask):
    assert document_ids([ask(doc=0), ask(doc=4)]) == {("sums", 0): 0, ("sums", 4): 4}


def test_a_number_of_its_own_names_a_document_under_samples(ask):
    requests = [ask(doc=0, fields={"doc_id": 17}), ask(doc=1, fields={"doc_id": 3})]
    assert document_ids(requests) == {("sums", 0): 17, ("sums", 1): 3}


@pytest.mark.parametrize("ids", [(5, 5), ("a", "b"), (1, None), (True, False)])
def test_a_number_that_names_no_document_is_not_used(ask, ids):
    requests = [ask(doc=n, fields={"doc_id": own}) for n, own in enumerate(ids)]
    assert document_ids(requests) == {("sums", 0): 0, ("sums", 1): 1}


def test_options_of_other_strategies_are_let_through(plan, ask):
    (group,) = plan([ask(rate=0.3, turn_stop="\n\n")], strategy="target-only").groups
    assert not hasattr(group.strategy.options, "rate")


def test_settings_that_nobody_knows_name_their_task(plan, ask):
    with pytest.raises(SettingError, match=r"generation_kwargs of sums: .*did you mean turns"):
        plan([ask(turn=3)])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_gen_toks", 0, "max_gen_toks: expected"),
        ("temperature", "hot", "temperature: expected"),
        ("draft_tokens", -1, "draft_tokens: expected"),
    ],
)
def test_values_of_a_task_are_checked(plan, ask, name, value, message):
    with pytest.raises(SettingError, match=message):
        plan([ask(**{name: value})])
