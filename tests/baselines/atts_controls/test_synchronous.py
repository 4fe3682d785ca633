"""The synchronous control: barriers, ranking within the turn, the worst B taken over."""

import pytest
from atts_controls.synchronous import Synchronous, judge
from hypothesis import given
from hypothesis import strategies as st

from atts_harness.backend import GenerateRequest
from atts_harness.errors import BackendUnavailableError, SettingError
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says


def cut(text):
    return Says(text, ending="length")


def scored(*values):
    return {n: (s, 0.25) for n, s in enumerate(values)}


@pytest.mark.parametrize(
    ("rate", "taken"), [(0.0, set()), (0.25, {2}), (0.5, {2, 0}), (1.0, {0, 1, 2, 3})]
)
def test_the_worst_scores_are_taken_over(rate, taken):
    given = scored(2.0, 0.5, 3.0, 1.0)
    assert {r for r in given if judge(r, given, rate).takeover} == taken


def test_a_verdict_is_a_rank_among_siblings():
    verdict = judge(0, scored(2.0, 0.5, 3.0, 1.0), 0.5)
    assert (verdict.p_value, verdict.threshold, verdict.bank_size) == (0.5, 0.5, 4)
    assert verdict.bank == "siblings"


def test_a_sample_without_a_score_is_not_ranked():
    given = {0: (None, 0.0), 1: (1.0, 0.0), 2: (2.0, 0.0)}
    assert judge(1, given, 0.5).bank_size == 2
    assert not judge(1, given, 0.5).takeover
    assert judge(2, given, 0.5).takeover


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=16),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_as_many_as_the_rate_says_rounded_by_one_common_draw(values, rate, draw):
    given = {n: (s, draw) for n, s in enumerate(values)}
    taken = [judge(r, given, rate).takeover for r in given]
    assert abs(sum(taken) - rate * len(values)) < 1
    assert sum(taken) == int(rate * len(values) + draw)
    if 0 < sum(taken) < len(values):
        over = min(s for s, t in zip(values, taken, strict=True) if t)
        under = max(s for s, t in zip(values, taken, strict=True) if not t)
        assert over >= under


def test_on_average_the_share_holds_even_for_one_sample_left():
    draws = [n / 1000 for n in range(1000)]
    taken = [judge(0, {0: (1.0, u)}, 0.4).takeover for u in draws]
    assert sum(taken) == pytest.approx(400, abs=1)


def together(**options):
    """Three samples, told apart by what they wrote; one ends in turn 1."""
    drafts = {"": ["a", "b", "c"]}

    def draft(asked):
        text = asked.text.partition("<|assistant|>")[2]
        if not text:
            return cut(drafts[""].pop(0))
        return {"a": "A", "b": cut("B"), "c": cut("C"), "bT": cut("D")}.get(text[:2], cut("e"))

    def score(asked):
        text = asked.text.partition("<|assistant|>")[2]
        return {"a": 1.0, "b": 3.0, "c": 2.0}[text[0]]

    return play(
        Synchronous,
        {"rate": 1 / 3, "turns": 3, **options},
        draft=draft,
        target=lambda _: cut("T"),
        scores=score,
        repeats=3,
    )


def test_every_turn_the_worst_of_those_still_there_is_taken_over():
    played = together()
    by_first = {record.text[0]: record for record in played.records}
    assert [d.takeover for d in by_first["b"].decisions] == [True, True, True]
    assert by_first["a"].text == "aA"
    assert by_first["a"].finish == "eos"
    assert [d.bank_size for d in by_first["c"].decisions][:2] == [3, 3]
    assert by_first["c"].decisions[2].bank_size == 2


def test_no_score_before_all_drafts_and_no_draft_before_all_takeovers():
    played = together()
    order = [(r.key.turn, r.key.kind) for r in played.calls]
    rank = {"draft": 0, "score": 1, "takeover": 2}
    keys = [(turn, rank[kind]) for turn, kind in order]
    assert keys == sorted(keys)
    assert sum(isinstance(s.request, GenerateRequest) for s in played.target.served) > 0


def test_empty_drafts_and_failed_scores_do_not_hold_anybody_up():
    drafts = iter(["", cut("x"), cut("y")])
    scores = iter([BackendUnavailableError("gone"), 1.0])
    played = play(
        Synchronous,
        {"turns": 1, "rate": 0.0},
        draft=lambda _: next(drafts),
        target=lambda _: "T",
        scores=lambda _: next(scores),
        repeats=3,
    )
    reasons = sorted(d.reason for r in played.records for d in r.decisions)
    assert reasons == ["empty-draft", "p-value", "score-failed"]
    assert sum(d.takeover for r in played.records for d in r.decisions) == 2


def test_an_empty_draft_may_end_its_sample():
    drafts = iter(["", cut("x")])
    played = play(
        Synchronous,
        {"turns": 1, "on_empty": "end", "rate": 0},
        draft=lambda _: next(drafts),
        scores=1.0,
        repeats=2,
    )
    assert sorted((r.finish, r.text) for r in played.records) == [("eos", ""), ("turns", "x")]


def test_replace_and_paper_join_are_attss():
    replaced = play(
        Synchronous,
        {"turns": 2, "rate": 1, "on_reject": "replace", "paper_join": True},
        draft=[cut("d0"), cut("d1")],
        target=[cut("t0"), cut("t1")],
        scores=1.0,
    )
    assert replaced.record.text == "t0\n\nt1"


def test_a_rate_outside_its_range_is_refused():
    with pytest.raises(SettingError, match="rate: expected"):
        play(Synchronous, {"rate": 2})


def test_a_character_that_is_held_back_does_not_end_a_sample():
    half = Says(ids=tuple("é".encode()[:1]), ending="length")
    played = play(
        Synchronous,
        {"on_empty": "end", "rate": 0.0},
        draft=[half, "done"],
        scores=lambda *_: 1.0,
    )
    assert (played.record.text, played.record.finish) == ("done", "eos")
    assert played.took_over() == [False]
