"""Stop strings: found at the first token that completes one, wherever it falls."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from atts_transformers.stops import StopFinder

from atts_harness.testing.conformance_folder import train_tokenizer
from atts_harness.tokenizer import HuggingFaceTokenizer


@cache
def made(metaspace: bool) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(train_tokenizer(size=420, metaspace=metaspace))


WORDS = ("17", " + 5", "\n\n", "naïve", " 東京", " 🙂🙃", "</think>", "aa", "ab", " ", "é")


@settings(deadline=None)
@given(
    st.booleans(),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map("".join),
    st.lists(st.text("17 +5\n東🙂naï</a", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_as_if_everything_were_decoded(metaspace: bool, text: str, stops: list[str]) -> None:
    tokenizer = made(metaspace)
    finder = StopFinder(tokenizer)
    ids = tokenizer.encode(text)
    for end in range(1, len(ids) + 1):
        found = finder.find(ids[:end], stops)
        expected = {stop for stop in stops if stop in tokenizer.decode(ids[:end])}
        assert (found in expected) if expected else found is None
        if expected:
            return


def test_a_named_token_can_stop() -> None:
    tokenizer = made(False)
    ids = [*tokenizer.encode("so"), tokenizer.named["</think>"]]
    assert StopFinder(tokenizer).find(ids, ["</think>"]) == "</think>"


def test_the_first_in_the_text_is_named_and_the_longest_of_those() -> None:
    tokenizer = made(False)
    ids = tokenizer.encode("17\n\n")
    assert StopFinder(tokenizer).find(ids, ["\n\n", "7\n\n"]) == "7\n\n"
    assert StopFinder(tokenizer).find(ids, ["\n\n", "\n\n"]) == "\n\n"
