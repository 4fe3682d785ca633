"""Numbers of a reply are checked before anybody computes with them."""

import math

import pytest

from atts_harness.engines.replies import finite, same_ids
from atts_harness.errors import MalformedReplyError


def test_log_probabilities_pass_and_rounding_above_zero_is_zero():
    assert finite([-1.5, 0.0, 1e-6, -700.25], "score") == (-1.5, 0.0, 0.0, -700.25)


@pytest.mark.parametrize(
    "bad", [None, math.nan, -math.inf, math.inf, 0.5, -9999.0, -3.4028234663852886e38]
)
def test_what_is_no_log_probability_is_an_error_and_never_a_number(bad):
    with pytest.raises(MalformedReplyError, match="log-probability 1"):
        finite([-1.0, bad, -2.0], "score")


def test_ids_must_be_the_ones_that_were_sent():
    same_ids([1, 2, 3], (1, 2, 3), "score")
    with pytest.raises(MalformedReplyError, match="token 1 is 9 instead of 2"):
        same_ids([1, 9, 3], [1, 2, 3], "score")
    with pytest.raises(MalformedReplyError, match="2 scored tokens instead of 3"):
        same_ids([1, 2], [1, 2, 3], "score")
