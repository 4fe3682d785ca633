"""What differs, in words."""

from atts_harness.differences import BANK_RUN, Difference, brief, unequal, value_in_words


def test_mappings_in_mappings_are_gone_into():
    before = {"a": 1, "b": {"c": 2, "d": 3}, "same": [1]}
    after = {"a": 1, "b": {"c": 4, "d": 3, "e": 5}, "same": [1], "new": None}
    found = list(unequal(before, after))
    assert found == [Difference("b.c", 2, 4), Difference("b.e", None, 5)]
    assert [one.words() for one in found] == ["b.c was 2, now 4", "b.e was None, now 5"]


def test_a_value_is_said_in_the_words_of_whoever_compares():
    assert Difference("rate", 0.2, "x").words(BANK_RUN) == "rate is 0.2 in the bank, 'x' in the run"


def test_braces_in_a_value_are_no_place_to_fill_in():
    assert Difference("stop", "{name}", "{0}").words() == "stop was '{name}', now '{0}'"


def test_long_values_and_many_differences_are_cut():
    assert len(value_in_words("x" * 1000)) == 80
    assert brief(["a", "b"], 2) == "a; b"
    assert brief(list("abcd"), 2) == "a; b, and 2 more"
