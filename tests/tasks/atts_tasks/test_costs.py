"""Costs as metrics of a task, and requests that other models can read."""

from pathlib import Path

import atts_tasks
import pytest
from atts_tasks.costs import COSTS, costs_of, rate

from atts_harness.generation import all_settings
from atts_harness.records import CallTotals, DecisionRecord, SampleId, SampleRecord


class Answer(str):
    record: SampleRecord | None = None


def answer(repeat, computed, takeovers):
    made = Answer("x")
    id_ = SampleId("t", 0, repeat)
    reasons = ["p-value", "policy", "empty-draft"]
    made.record = SampleRecord(
        id=id_,
        strategy="atts",
        text="x",
        finish="answer",
        calls={
            "target/score": CallTotals(prompt_tokens=computed, computed_tokens=computed),
            "target/takeover": CallTotals(computed_tokens=1),
            "draft/draft": CallTotals(computed_tokens=7),
        },
        decisions=[
            DecisionRecord(sample=id_, turn=n, takeover=taken, reason=reasons[n])
            for n, taken in enumerate(takeovers)
        ],
        turns=len(takeovers),
        started=1.0,
        ended=3.0 + repeat,
    )
    return made


def test_costs_are_means_over_repeats_and_takeovers_are_counts():
    found = costs_of([answer(0, 10, [True, False]), answer(1, 20, [False, False, True])])
    assert found == {
        "target_tokens": 16.0,
        "draft_tokens": 7.0,
        "turns": 2.5,
        "seconds": 2.5,
        "takeover_rate": [1, 4],  # an empty draft is not judged
        "takeover_rate_all_turns": [2, 5],
        "turns_not_judged": [1, 5],
    }
    assert found.keys() == COSTS.keys()


def test_where_no_turn_was_judged_there_is_no_realised_rate():
    only_empty = answer(0, 10, [True])
    only_empty.record.decisions[0] = DecisionRecord(
        sample=only_empty.record.id, turn=0, takeover=True, reason="score-failed"
    )
    found = costs_of([only_empty])
    assert "takeover_rate" not in found
    assert (found["takeover_rate_all_turns"], found["turns_not_judged"]) == ([1, 1], [1, 1])


def test_a_strategy_that_decides_nothing_has_no_rate():
    assert "takeover_rate" not in costs_of([answer(0, 10, [])])
    assert costs_of(answer(0, 10, []))["target_tokens"] == 11.0


def test_answers_of_other_models_have_no_costs():
    assert costs_of(["plain", "text"]) == {}
    assert costs_of([answer(0, 1, []), "plain"]) == {}
    assert costs_of("plain") == {}


def test_the_rate_is_over_all_turns_not_a_mean_of_questions():
    assert rate([[1, 4], [2, 2]]) == 0.5


@pytest.fixture(scope="module")
def task():
    from lm_eval.tasks import TaskManager

    folder = str(Path(atts_tasks.__file__).parent)
    manager = TaskManager(
        include_path=folder, include_defaults=False, metadata={"num_problems": 2, "repeats": 1}
    )
    return manager.load(["atts_chain"])["tasks"]["atts_chain"]


def test_another_models_request_has_no_strategys_options(task):
    request = task.construct_requests(task.test_docs()[0], "asked", metadata=("t", 0, 1))
    text, plain = request.args
    assert text == "asked"
    assert plain.keys() == {"until", "do_sample", "temperature", "top_p", "max_gen_toks"}
    assert all_settings(plain) == task.config.generation_kwargs
    assert all_settings(plain)["turns"] == 40
