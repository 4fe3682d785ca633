"""Numbers of a reply are checked before anybody computes with them."""

import math

import pytest

from atts_harness.engines.replies import decode, log_probabilities, same_ids
from atts_harness.errors import MalformedReplyError


def test_an_engines_stand_in_for_a_probability_of_zero_is_minus_infinity():
    told = [-1.5, 0.0, -9999.0, -3.4028234663852886e38, -700.25]
    assert log_probabilities(told, "score") == (-1.5, 0.0, -math.inf, -math.inf, -700.25)


def test_one_that_is_missing_is_an_error():
    with pytest.raises(MalformedReplyError, match="log-probability 1 is missing"):
        log_probabilities([-1.0, None, -2.0], "score")


def test_minus_infinity_as_a_bare_word_is_read_and_other_words_are_not():
    assert decode(b'{"a": [-Infinity, -1.0]}', dict[str, list[float]])["a"][0] < -1e38
    for word in (b"NaN", b"Infinity"):
        with pytest.raises(MalformedReplyError):
            decode(b'{"a": [-Infinity, ' + word + b"]}", dict[str, list[float]])


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        b"[1e999]",
        b"[" + b"9" * 5000 + b"e5]",
    ],
)
@pytest.mark.parametrize("kind", [list[float], list[int], dict[str, int]])
def test_decoding_never_raises_anything_else(content, kind):
    with pytest.raises(MalformedReplyError):
        decode(content, kind)


def test_ids_must_be_the_ones_that_were_sent():
    same_ids([1, 2, 3], (1, 2, 3), "score")
    with pytest.raises(MalformedReplyError, match="token 1 is 9 instead of 2"):
        same_ids([1, 9, 3], [1, 2, 3], "score")
    with pytest.raises(MalformedReplyError, match="2 scored tokens instead of 3"):
        same_ids([1, 2], [1, 2, 3], "score")
