"""ESC: windows of samples, until one is unanimous."""

import pytest
from atts_votes.esc import ESC
from atts_votes.vote import Ballot

from atts_harness.errors import BackendError, SettingError
from atts_harness.strategy import Problem, RunInfo
from atts_harness.testing.play import play
from atts_harness.transcript import Prompt

OPTIONS = {"inner": "target-only", "window": 3}
PROBLEM = Problem("t", 0, Prompt(()), kind="maths")


def drawn(answers, repeats=None, **options):
    """Weights of the samples that were drawn, and how many were not."""
    texts = [rf"\boxed{{{answer}}}" if answer != "." else "No." for answer in answers]
    played = play(ESC, OPTIONS | options, target=texts, repeats=repeats or len(answers))
    weights = [r.weight for r in played.records if r.finish != "not-drawn"]
    assert len(played.calls) == len(weights)
    return weights, sum(r.finish == "not-drawn" for r in played.records)


@pytest.mark.parametrize(
    ("answers", "weights", "left"),
    [
        ("111222333", [1, 1, 1], 6),  # the first window agrees
        ("112222333", [1, 1, 1, 4, 4, 4], 3),  # the second does, and outweighs the first
        ("112221331", [1] * 9, 0),  # none does: the majority of all
        ("11.111222", [1, 1, 1, 4, 4, 4], 3),  # a sample without an answer does not agree
        ("11211211", [1] * 6, 2),  # what fills no window is never drawn
    ],
)
def test_a_unanimous_window_ends_the_vote(answers, weights, left):
    assert drawn(answers) == (weights, left)


def test_a_window_of_which_one_failed_does_not_agree():
    replies = [BackendError("gone"), *[r"\boxed{1}"] * 5]
    played = play(ESC, OPTIONS, target=replies, repeats=6)
    assert [r.finish for r in played.records] == ["failed", *["answer"] * 5]
    assert [r.weight for r in played.records] == [0.0, 1.0, 1.0, 3.0, 3.0, 3.0]


def test_the_answer_is_that_of_the_unanimous_window_whatever_came_before():
    weights, _ = drawn("11121112" + "2222", window=4)
    answers = "111211122222"
    assert sum(w for w, a in zip(weights, answers, strict=True) if a == "2") > sum(
        w for w, a in zip(weights, answers, strict=True) if a == "1"
    )
    assert answers[:12].count("1") == 6  # and yet


def test_all_windows_are_asked_for_in_order():
    made = ESC.made_for(OPTIONS)
    vote = made(made.Options(**OPTIONS), RunInfo())
    assert [list(batch) for batch in vote.batches(list(range(8)))] == [[0, 1, 2], [3, 4, 5]]
    assert vote.enough(PROBLEM, {}, dict(enumerate(map(Ballot, ("0.5", "1/2", r"\frac12")))))
    assert not vote.enough(PROBLEM, {}, dict(enumerate(map(Ballot, ("1", "1")))))


def test_fewer_repeats_than_a_window_are_refused():
    with pytest.raises(SettingError, match=r"repeats: .* needs 3 at least \(window=3\)") as caught:
        drawn("11")
    assert "\n" not in str(caught.value)
    assert '{"repeats": 3}' in str(caught.value)
