"""Confidence of tokens, groups and traces, against counting by hand."""

import random

import numpy as np
import pytest
from atts_votes.confidence import groups, score, token_confidences

from atts_harness.errors import SampleFailedError
from atts_harness.strategy import Generation
from atts_harness.transcript import Segment


def generation(*candidates):
    return Generation(Segment("target", ()), candidates=candidates or None)


def test_a_tokens_confidence_is_minus_the_mean_of_its_candidates():
    told = generation((-0.1, -2.0, -3.9), (-1.0, -1.0), (0.0,))
    assert token_confidences(told) == [2000, 1000, 0]
    assert token_confidences(generation((-0.0004, -0.0007))) == [1]  # 0.00055, to thousandths


def test_a_candidate_that_is_impossible_says_nothing_and_none_at_all_is_a_fault():
    assert token_confidences(generation((-1.0, -np.inf))) == [1000]
    for told in (generation(), generation((-1.0,), ())):
        with pytest.raises(SampleFailedError, match="candidate"):
            token_confidences(told)


def brute(confidences, size):
    if len(confidences) < size:
        return [round(sum(confidences) / len(confidences))]
    return [
        round(sum(confidences[at : at + size]) / size) for at in range(len(confidences) - size + 1)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_windows_equal_brute_force(seed):
    rng = random.Random(seed)
    confidences = [rng.randrange(0, 25_000) for _ in range(rng.randrange(1, 60))]
    for size in (1, 2, 7, 59, 60):
        windows = brute(confidences, size)
        assert groups(confidences, size) == windows
        assert score(confidences, size) == min(windows) / 1000
        lowest = sorted(windows)[: max(1, int(len(windows) * 0.1))]
        assert score(confidences, size, "bottom") == pytest.approx(np.mean(lowest) / 1000)
        assert score(confidences, size, "tail") == pytest.approx(
            np.mean(confidences[-size:]) / 1000
        )
    assert score(confidences, 9, "mean") == pytest.approx(np.mean(confidences) / 1000)


def test_a_window_that_is_just_full_is_one_and_nothing_has_confidence_0():
    assert groups([1000, 2000, 3000], 3) == [2000]
    assert groups([1000, 2000], 3) == [1500]
    assert [score([], 3, by) for by in ("lowest", "bottom", "tail", "mean")] == [0.0] * 4
