"""Thoughts and answer, of whole texts and of beginnings."""

import itertools

import pytest
from atts_serve.thinking import parts_of, settled

TEXTS = [
    ("I add.</think>\n\n4", True, ("I add.", "\n\n4")),
    ("I add", True, ("I add", "")),
    ("4", False, (None, "4")),
    ("<think>\nI add.</think>4", False, ("\nI add.", "4")),
    ("\n<think>I", False, ("I", "")),
    ("a </think> b", False, (None, "a </think> b")),
    ("I add.</think>4", None, (None, "I add.</think>4")),
]


@pytest.mark.parametrize(("text", "opened", "expected"), TEXTS)
def test_a_text_is_split_at_the_end_of_thinking(text, opened, expected):
    assert parts_of(text, opened=opened) == expected


@pytest.mark.parametrize(("text", "opened", "_"), TEXTS)
@pytest.mark.parametrize("stops", [(), ("dd.",), ("4",), ("\n\n", "zz")])
def test_what_is_told_of_a_beginning_stays_true(text, opened, _, stops):
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    final = parts_of(text[: min(cuts)] if cuts else text, opened=opened)
    before = ("", "")
    for length in range(len(text) + 1):
        told = parts_of(settled(text[:length], stops, opened=opened), opened=opened)
        thoughts, answer = told.thoughts or "", told.answer
        assert (final.thoughts or "").startswith(thoughts)
        assert final.answer.startswith(answer)
        assert thoughts.startswith(before[0])
        assert answer.startswith(before[1])
        before = (thoughts, answer)


def test_all_is_told_but_what_may_be_the_beginning_of_a_mark():
    assert settled("I add <", (), opened=True) == "I add "
    assert settled("I add <b", (), opened=True) == "I add <b"
    assert settled("one, tw", ("two",), opened=None) == "one, "
    for text in map("".join, itertools.product("ab", repeat=4)):
        assert settled(text, (), opened=None) == text
