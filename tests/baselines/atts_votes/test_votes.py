"""Self-consistency and adaptive-consistency: which samples are drawn, and what they count."""

from fractions import Fraction

import pytest
from atts_votes.adaptive_consistency import AdaptiveConsistency, leads
from atts_votes.counting import counted
from atts_votes.esc import ESC
from atts_votes.self_consistency import SelfConsistency
from atts_votes.vote import Ballot
from scipy import integrate

from atts_harness import plugins
from atts_harness.errors import BackendError, SettingError, UnknownSettingError
from atts_harness.settings import parse_settings
from atts_harness.testing.play import play
from atts_harness.transcript import Prompt

AFTER = {"inner": "target-only"}


def boxes(*answers):
    """Texts with these answers, in the order in which samples are asked for."""
    return [rf"So \boxed{{{answer}}}" if answer else "No idea." for answer in answers]


def vote(strategy, answers, options=None, repeats=None, **more):
    return play(
        strategy,
        {**AFTER, **(options or {})},
        target=boxes(*answers),
        repeats=repeats or len(answers),
        **more,
    )


def drawn(played):
    return [record.finish != "not-drawn" for record in played.records].count(True)


def test_self_consistency_draws_every_sample_and_gives_each_one_vote():
    played = vote(SelfConsistency, "1212")
    assert [(r.finish, r.weight) for r in played.records] == [("answer", 1.0)] * 4
    assert played.called() == ["target/takeover 0"] * 4


@pytest.mark.parametrize(
    ("answers", "sure", "expected"),
    [
        ("1111", 0.95, 4),  # 31/32 after four, 15/16 after three
        ("1111", 0.9375, 3),  # exactly 15/16: reached is enough
        ("1111", 0.9376, 4),
        ("1211111111", 0.95, 7),  # a=6, b=1: 1 - 9/256; a=5, b=1: 1 - 8/128
        ("1234567812", 0.95, 10),  # never sure: everything is drawn
        ("..11111", 0.95, 6),  # samples without an answer are drawn and do not vote
        ("12", 0.5, 1),
    ],
)
def test_adaptive_consistency_stops_as_soon_as_it_is_sure(answers, sure, expected):
    given = [None if answer == "." else answer for answer in answers]
    played = vote(AdaptiveConsistency, given, {"sure": sure})
    assert drawn(played) == expected
    weights = [record.weight for record in played.records]
    assert weights == [1.0] * expected + [0.0] * (len(answers) - expected)
    assert len(played.calls) == expected
    for record in played.records[expected:]:
        assert (record.text, record.calls, record.failed, record.truncated) == ("", {}, None, False)


@pytest.mark.parametrize("a", range(7))
@pytest.mark.parametrize("b", range(4))
def test_the_posterior_is_the_published_integral(a, b):
    whole, _ = integrate.quad(lambda x: x**a * (1 - x) ** b, 0, 1)
    half, _ = integrate.quad(lambda x: x**a * (1 - x) ** b, 0.5, 1)
    assert float(leads(a, b)) == pytest.approx(half / whole)


def test_the_posterior_is_exact():
    assert leads(4, 0) == Fraction(31, 32)


def test_only_the_first_two_answers_count():
    cast = {n: Ballot(answer) for n, answer in enumerate("11111123456789")}
    made = play(AdaptiveConsistency, AFTER, target=boxes("1"), repeats=1)
    assert made.records[0].weight == 1.0
    kind = AdaptiveConsistency.made_for(AFTER)
    strategy = kind(kind.Options(), run_info())
    assert strategy.enough(problem(), cast, {})  # a=6, b=1, whatever the others are


def test_equal_answers_in_other_spellings_are_one_candidate():
    assert counted([r"\frac{1}{2}", "0.5", "1/2", "2", None], "maths") == [3, 1]
    played = vote(AdaptiveConsistency, [r"\frac12", "0.5", "1/2", r"\tfrac{1}{2}", "7"])
    assert drawn(played) == 4


def test_letters_are_compared_as_letters():
    assert counted(["A", "(A)", "B"], "choice") == [2, 1]


def test_a_failed_sample_does_not_vote_and_the_next_one_is_drawn():
    replies = [BackendError("gone"), *boxes("1", "1", "1", "1", "1")]
    played = play(AdaptiveConsistency, AFTER, target=replies, repeats=6)
    assert [r.failed is not None for r in played.records] == [True, *[False] * 5]
    assert [r.weight for r in played.records] == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def test_the_inner_strategy_keeps_its_options_and_its_policy():
    kind = AdaptiveConsistency.made_for({"inner": "atts"})
    assert set(kind.Options.__struct_fields__) >= {"rate", "draft_tokens", "inner", "sure"}
    assert (kind.roles, kind.scores, kind.name) == (
        ("draft", "target"), True, "adaptive-consistency",
    )  # fmt: skip
    made = kind(kind.Options(rate=0.3), run_info())
    assert made.policy is made.inner.policy
    assert made.nominal_rate == 0.3
    assert AdaptiveConsistency.made_for({"inner": "atts"}) is kind


def test_settings_know_the_options_of_both():
    given = {"strategy": "self-consistency", "inner": "atts", "rate": "0.3"}
    settings = parse_settings(given)
    assert (settings.options().rate, settings.options().inner) == (0.3, "atts")
    with pytest.raises(SettingError, match="rate: an option of strategy"):
        parse_settings({**given, "inner": "target-only"})


@pytest.mark.parametrize("inner", ["self-consistency", "adaptive-consistency"])
def test_a_vote_over_a_vote_is_refused(inner):
    given = {"strategy": "self-consistency", "inner": inner}
    with pytest.raises(SettingError, match=f"inner={inner}: is a vote itself") as caught:
        parse_settings(given)
    assert "\n" not in str(caught.value)


def test_an_unknown_inner_strategy_is_refused_with_the_nearest():
    with pytest.raises(UnknownSettingError, match="did you mean target-only"):
        parse_settings({"strategy": "self-consistency", "inner": "target-olny"})


def test_open_answers_are_refused():
    with pytest.raises(SettingError, match="its answers are open") as caught:
        vote(SelfConsistency, "11", kind=None)
    assert "\n" not in str(caught.value)


def test_samples_that_wait_for_each_other_can_only_be_drawn_together():
    given = {"inner": "synchronous"}
    with pytest.raises(SettingError, match=r"inner=synchronous: .*wait for each other"):
        play(AdaptiveConsistency, given, repeats=2)
    played = play(SelfConsistency, given, draft=boxes("1", "1"), scores=0.5, repeats=2)
    assert [r.finish for r in played.records] == ["answer", "answer"]


def test_an_extractor_that_comes_when_samples_have_ended_is_too_late():
    with pytest.raises(SettingError, match=r"extractor=llm: .*extractor=boxed\+llm"):
        vote(AdaptiveConsistency, "11", extractor="llm")


def problem():
    from atts_harness.strategy import Problem

    return Problem("t", 0, Prompt(()), kind="maths")


def run_info():
    from atts_harness.strategy import RunInfo

    return RunInfo()


def test_every_vote_is_announced():
    votes = {name for name, entry in plugins.strategies().items() if entry.value.votes}
    assert votes >= {"self-consistency", "adaptive-consistency"}


@pytest.mark.parametrize("strategy", [SelfConsistency, AdaptiveConsistency])
def test_most_bounds_what_is_drawn_of_the_repeats(strategy):
    played = vote(strategy, "12345678", {"most": 3})
    assert [r.finish for r in played.records] == ["answer"] * 3 + ["not-drawn"] * 5
    assert [r.weight for r in played.records] == [1.0] * 3 + [0.0] * 5
    assert len(played.calls) == 3


def test_fewer_than_a_method_needs_are_refused():
    with pytest.raises(SettingError, match=r"most=3: esc needs 5 samples at least \(window=5\)"):
        vote(ESC, "1" * 8, {"most": 3})
