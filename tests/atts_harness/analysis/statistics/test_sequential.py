"""Rounds of repeats until a mean over these problems is known."""

import math

import numpy as np
import pytest

from atts_harness.analysis.statistics.sequential import next_repeats, precision_of, widest_floor


def test_by_hand():
    # v = 2 * 2 / (4 * 3) = 1/3 and 0; one coin more: (1/3 + 1/4) / 4 over 2^2.
    now = precision_of([2, 4], [4, 4], 0.1)
    assert now.value == 0.75
    assert now.here == pytest.approx(1.959964 * math.sqrt((1 / 3 + 1 / 4) / 4) / 2)
    assert now.needed == math.ceil((1 / 3 + 1 / 4) * (1.959964 / 0.2) ** 2)


def test_one_repeat_says_nothing_of_its_own_noise():
    now = precision_of([1, 0, 1], [1, 1, 1], 0.05)
    assert now.here == math.inf
    assert next_repeats(now, 0.05, 64) == 2


def test_two_repeats_that_agree_everywhere_are_not_enough():
    now = precision_of([2, 0] * 4, [2] * 8, 0.03)
    assert now.here > 0.03
    assert next_repeats(now, 0.03, 64) == 4


def test_rounds_at_most_double_stop_when_known_and_never_pass_the_cap():
    coarse = precision_of([2, 1, 3, 2], [4] * 4, 0.01)
    assert next_repeats(coarse, 0.01, 100) == 8
    assert next_repeats(coarse, 0.01, 6) == 6
    assert next_repeats(coarse, 0.01, 4) is None
    assert next_repeats(coarse, 0.5, 100) is None


def test_the_floor_is_what_repeats_cannot_buy():
    few, many = (precision_of([r, 0, r, 0, r], [r] * 5, 0.03) for r in (4, 400))
    assert few.floor == pytest.approx(many.floor)
    assert many.here < 0.03 < many.floor
    alike = precision_of([50] * 30, [100] * 30, 0.03)
    assert alike.floor == 0.0  # no more spread than the noise of repeats


def test_it_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="half_width"):
        precision_of([1], [2], 0.0)
    with pytest.raises(ValueError, match="right <= repeats"):
        precision_of([3], [2], 0.1)


# A small part of benchmarks/statistics/stopping.py.
@pytest.mark.parametrize("problems", [8, 30])
def test_coverage_when_it_stops(problems):
    rng = np.random.default_rng(problems)
    held = []
    for _ in range(400):
        chance = np.where(rng.random(problems) < 0.5, rng.beta(1, 12), rng.beta(12, 1))
        repeats = 2
        right = rng.binomial(2, chance)
        while True:
            now = precision_of(right.tolist(), [repeats] * problems, 0.05)
            after = next_repeats(now, 0.05, 200)
            if after is None:
                break
            right = right + rng.binomial(after - repeats, chance)
            repeats = after
        held.append(abs(now.value - chance.mean()) <= now.here)
    assert np.mean(held) >= 0.93


def test_the_widest_floor_is_that_of_problems_right_always_or_never():
    now = precision_of([16, 0, 16, 0, 16, 0], [16] * 6, 0.03)
    assert now.floor == pytest.approx(widest_floor(6, 0.5))
    assert widest_floor(6, 0.9) < widest_floor(6, 0.5)
    assert widest_floor(1, 0.5) == math.inf
