"""Draft-only, random takeover and always-takeover are ATTS's turns with a coin."""

import json

import pytest
from atts_controls.coin import (
    AlwaysTakeover,
    Coin,
    DraftOnly,
    RandomTakeover,
    RandomTakeoverOptions,
)

from atts_harness.atts import ATTS
from atts_harness.errors import SettingError
from atts_harness.records import SampleId
from atts_harness.strategy import RunInfo
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says


def results(**rates):
    """An lm-eval results file, as far as it matters."""
    statistics = {
        task: {"takeover": {"judged_turns": 10, "takeovers": round(10 * rate)}}
        for task, rate in rates.items()
    }
    return json.dumps({"results": {}, "config": {"atts": {"statistics": statistics}}})


def cut(text):
    """A chunk that breaks off, as one of exactly `draft_tokens` would."""
    return Says(text, ending="length")


def test_draft_only_takes_turns_to_the_answer_and_asks_nobody():
    played = play(DraftOnly, draft=[cut("so \\boxed"), cut("{12}"), "never asked"])
    assert played.trace() == ["draft 0: so \\boxed", "draft 1: {12}"]
    assert played.called() == ["draft/draft 0", "draft/draft 1"]
    assert played.took_over() == [False, False]
    assert played.record.finish == "answer"


def test_draft_only_ends_where_the_draft_ends():
    played = play(DraftOnly, draft=[cut("a"), "b", "never asked"])
    assert (played.record.text, played.record.finish) == ("ab", "eos")


def test_draft_only_ends_at_an_empty_draft():
    played = play(DraftOnly, draft=[cut("a"), "", "never asked"])
    assert (played.record.text, played.record.finish) == ("a", "eos")
    assert played.draft.unused == 1


def test_draft_only_has_the_whole_budget_whatever_attss_turns_are():
    played = play(DraftOnly, {"draft_tokens": 2}, draft=["x" * 9] * 50, max_tokens=41)
    assert (len(played.record.text), played.record.finish) == (41, "budget")
    assert played.record.truncated
    limited = play(DraftOnly, {"draft_tokens": 2, "turns": 3}, draft=["x" * 9] * 3)
    assert (len(limited.record.text), limited.record.finish) == (6, "turns")


def test_draft_only_has_nobody_to_ask_about_an_empty_draft():
    with pytest.raises(SettingError, match="on_empty"):
        play(DraftOnly, {"on_empty": "takeover"})


def test_always_takeover_asks_the_target_each_turn_and_never_for_a_score():
    played = play(
        AlwaysTakeover,
        draft=[cut("d0 "), cut("d1 ")],
        target=[cut("t0 "), "t1"],
    )
    assert played.trace() == ["draft 0: d0 ", "takeover 0: t0 ", "draft 1: d1 ", "takeover 1: t1"]
    assert "target/score 0" not in played.called()
    assert played.took_over() == [True, True]


def test_always_takeover_may_replace_the_draft():
    played = play(AlwaysTakeover, {"on_reject": "replace"}, draft=[cut("d0 ")], target=["t0"])
    assert played.trace() == ["(draft 0: d0 )", "takeover 0: t0"]
    assert played.record.text == "t0"


def test_the_coin_falls_as_often_as_told_and_never_otherwise():
    sample = SampleId("task", 0, 0)
    draws = [n / 1000 for n in range(1000)]
    for rate in (0.0, 0.3, 1.0):
        taken = [Coin(rate).decide(float("nan"), sample, 0, u).takeover for u in draws]
        assert sum(taken) == round(1000 * rate)


def test_random_takeover_tosses_by_the_samples_own_draw():
    def run(seed):
        return play(
            RandomTakeover,
            {"rate": 0.5, "turns": 40},
            draft=lambda _: cut("d"),
            target=lambda _: cut("t"),
            seed=seed,
        )

    first, again, other = run(1), run(1), run(2)
    assert first.took_over() == again.took_over() != other.took_over()
    assert 8 <= sum(first.took_over()) <= 32
    for decision in first.record.decisions:
        assert decision.takeover == (decision.uniform < 0.5)
        assert (decision.threshold, decision.nonconformity) == (0.5, None)


def test_the_first_draft_is_the_one_attss_samples_begin_with():
    def seeds(strategy, **options):
        played = play(
            strategy,
            options,
            draft=lambda _: cut("d"),
            target=lambda _: cut("t"),
            scores=0.5,
            repeats=3,
        )
        return {
            r.key.sample: r.seed for r in played.calls if r.key.kind == "draft" and r.key.turn == 0
        }

    assert (
        seeds(ATTS, turns=2)
        == seeds(DraftOnly, turns=2)
        == seeds(RandomTakeover, turns=2)
        == seeds(AlwaysTakeover, turns=2)
    )


@pytest.mark.parametrize("rate", [-0.1, 1.1, "often"])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(SettingError, match=r"^rate"):
        play(RandomTakeover, {"rate": rate})


def test_the_rate_is_attss_unless_given():
    assert RandomTakeoverOptions().nominal == 0.4
    assert RandomTakeoverOptions(rate=0.0).nominal == 0.0
    assert RandomTakeoverOptions(rate_of="run").nominal is None


def test_two_rates_are_refused():
    with pytest.raises(SettingError, match="give one of them"):
        play(RandomTakeover, {"rate": 0.4, "rate_of": "run"})


def test_the_realised_rate_of_another_run_is_taken_task_by_task(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(results(played=1.0, other=0.0))
    played = play(
        RandomTakeover,
        {"rate_of": str(path), "turns": 3},
        draft=lambda _: cut("d"),
        target=lambda _: cut("t"),
        provenance={"task": "played"},
    )
    assert played.took_over() == [True] * 3
    made = RandomTakeover(
        RandomTakeoverOptions(rate_of=str(path)), RunInfo(provenance={"task": "played"})
    )
    assert made.options.nominal == 1.0
    with pytest.raises(SettingError, match="no takeover decisions of task third, only of other"):
        play(RandomTakeover, {"rate_of": str(path)}, provenance={"task": "third"})


def test_a_character_that_is_held_back_does_not_end_the_draft():
    half = Says(ids=tuple("é".encode()[:1]), ending="length")
    played = play(DraftOnly, draft=[half, cut("so "), half, "done"])
    assert (played.record.text, played.record.finish) == ("so done", "eos")
