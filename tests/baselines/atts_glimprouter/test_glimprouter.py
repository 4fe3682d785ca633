"""GlimpRouter's rules, branch by branch, thresholds at their edges."""

import math

import pytest
from atts_glimprouter.glimprouter import GlimpRouter, entropy
from scipy import stats

from atts_harness.backend import Capabilities
from atts_harness.errors import SettingError
from atts_harness.running.opening import _check_abilities
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says, ScriptedBackend

EVEN = {"a": math.log(0.5), "b": math.log(0.5)}  # H = ln 2
CERTAIN = {"a": 0.0}


def glimpse(candidates):
    """A probe's reply."""
    return Says("a", ending="length", top_logprobs=(candidates,))


SURE, UNSURE = glimpse(CERTAIN), glimpse(EVEN)
BETWEEN = {"threshold": 0.5}


def test_an_unsure_draft_leaves_the_step_to_the_target():
    played = play(
        GlimpRouter, BETWEEN,
        draft=[SURE, "one.\n\n", UNSURE, SURE, r"three \boxed{3}"],
        target=["two.\n\n"],
    )  # fmt: skip
    assert played.trace() == [
        "(probe 0: a)", "draft 0: one.\n\n",
        "(probe 1: a)", "takeover 1: two.\n\n",
        "(probe 2: a)", r"draft 2: three \boxed{3}",
    ]  # fmt: skip
    assert played.took_over() == [False, True, False]
    assert played.record.notes["entropies"] == [0.0, round(math.log(2), 4), 0.0]
    assert played.record.finish == "answer"


@pytest.mark.parametrize(
    ("threshold", "by"),
    [
        (math.log(2), "takeover"),
        (math.nextafter(math.log(2), 1), "draft"),
        (0.0, "takeover"),
    ],
)
def test_the_threshold_is_inclusive(threshold, by):
    assert entropy(list(EVEN.values())) == math.log(2)
    end = r"\boxed{1}"
    played = play(GlimpRouter, {"threshold": threshold}, draft=[UNSURE, end], target=[end])
    assert played.called()[1].split("/")[1] == f"{by} 0"


@pytest.mark.parametrize("seed", range(5))
def test_entropy_is_of_the_candidates_alone(seed):
    rng = __import__("random").Random(seed)
    logprobs = [-rng.expovariate(0.3) for _ in range(20)]
    assert entropy(logprobs) == pytest.approx(stats.entropy([math.exp(lp) for lp in logprobs]))


def test_a_probe_asks_for_one_greedy_token_with_twenty_candidates():
    played = play(GlimpRouter, BETWEEN, draft=[SURE, r"\boxed{1}"])
    asked = played.draft.served[0].request
    assert (asked.max_tokens, asked.sampling.temperature, asked.top_logprobs) == (1, 0.0, 20)
    step = played.draft.served[1].request
    assert (step.ids, step.max_tokens, step.stop) == (asked.ids, 512, ("\n\n",))


@pytest.mark.parametrize("closed", ["done.</think>\n\n", "done.</think>"])
def test_thinking_ends_with_its_mark_and_the_target_answers(closed):
    played = play(
        GlimpRouter, BETWEEN | {"stop_at_answer": False},
        draft=[SURE, closed], target=[r"It is \boxed{4}."],
    )  # fmt: skip
    assert played.trace() == ["(probe 0: a)", f"draft 0: {closed}", r"answer 1: It is \boxed{4}."]
    assert played.record.finish == "eos"


def test_two_equal_steps_end_the_thinking_from_the_third_on():
    played = play(
        GlimpRouter, BETWEEN,
        draft=[SURE, "x\n\n", SURE, "x\n\n", SURE, "x\n\n"], target=[r"\boxed{4}"],
    )  # fmt: skip
    assert played.called()[-2:] == ["draft/draft 2", "target/answer 3"]
    assert played.record.text == "x\n\nx\n\nx\n\n\n</think>\n\n" + r"\boxed{4}"
    end = played.target.tokenizer.named["</think>"]
    assert played.target.served[0].request.ids.count(end) == 1  # the token, not its letters


def test_two_equal_steps_of_two_do_not_end_it():
    played = play(
        GlimpRouter, BETWEEN, draft=[SURE, "x\n\n", SURE, "x\n\n", SURE, r"\boxed{1}"],
    )  # fmt: skip
    assert played.record.finish == "answer"


def test_the_budget_leaves_a_fifth_for_the_answer():
    played = play(
        GlimpRouter, BETWEEN, draft=[SURE, "y" * 100], target=[r"\boxed{4}"], max_tokens=50
    )
    asked = [s.request.max_tokens for s in (played.draft.served[1], played.target.served[0])]
    assert asked == [40, 10]
    assert played.record.text.startswith("y" * 40 + "\n\n\n</think>")


def test_the_answer_has_its_own_limit():
    given = BETWEEN | {"answer_tokens": 3, "stop_at_answer": False}
    played = play(GlimpRouter, given, draft=[SURE, "</think>\n\n"], target=["abcdef"])
    assert played.trace()[-1] == "answer 1: abc"
    assert (played.record.finish, played.record.truncated) == ("budget", True)


def test_a_closed_turn_goes_on_behind_a_blank_line():
    played = play(GlimpRouter, BETWEEN, draft=[SURE, "one", SURE, r"\boxed{1}"])
    assert played.record.text == "one\n\n" + r"\boxed{1}"


def test_the_first_steps_can_be_the_targets():
    played = play(
        GlimpRouter, BETWEEN | {"first_n_steps_target": 1},
        draft=[SURE, r"\boxed{1}"], target=["one.\n\n"],
    )  # fmt: skip
    assert played.called() == ["target/takeover 0", "draft/probe 1", "draft/draft 1"]
    assert played.record.notes["entropies"] == [None, 0.0]
    assert played.took_over() == [False]


def test_a_draft_without_candidates_is_refused_before_the_run():
    poor = ScriptedBackend(capabilities=Capabilities(top_logprobs=0))
    with pytest.raises(SettingError, match="draft: strategy glimprouter needs the 20"):
        _check_abilities(GlimpRouter, {"draft": poor, "target": ScriptedBackend()})
