"""Paired differences: by hand, by their invariants, and their coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atts_harness.analysis.statistics import (
    difference_interval,
    difference_p,
    paired_difference,
)

quarters = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=40)


def test_by_hand_where_no_problem_differs():
    # Two pseudo-problems at the whole range: sum of squares 2, over 10 * 9.
    low, high = difference_interval(np.zeros(10), 1.0)
    assert high == pytest.approx(stats.t.ppf(0.975, 9) * np.sqrt(2 / 90))
    assert low == -high


def test_by_hand_where_two_problems_differ():
    # d^2 sums to 2, d^4 to 2: size 1, count 2; 1 + 1/3 pseudo-problems; no skew.
    d = np.array([1.0, -1.0, *[0.0] * 38])
    low, high = difference_interval(d, 1.0)
    assert high == pytest.approx(stats.t.ppf(0.975, 39) * np.sqrt((2 + 4 / 3) / (40 * 39)))
    assert low == -high


def test_with_many_problems_it_is_students_t():
    d = np.random.default_rng(0).normal(0.02, 0.2, 4000).clip(-1, 1)
    low, high = difference_interval(d, 0.25)
    t_low, t_high = stats.t.interval(0.95, 3999, d.mean(), stats.sem(d))
    assert low == pytest.approx(t_low, abs=1e-4)
    assert high == pytest.approx(t_high, abs=1e-4)


@given(quarters, st.sampled_from([0.5, 0.95, 0.999]))
def test_in_range_around_the_mean_never_without_width_and_the_same_from_both_sides(values, level):
    d = np.array(values)
    low, high = difference_interval(d, 0.25, level=level)
    assert -1 <= low <= d.mean() <= high <= 1
    assert high - low > 0.01
    other_low, other_high = difference_interval(-d, 0.25, level=level)
    assert (other_low, other_high) == pytest.approx((-high, -low))


@given(quarters, st.sampled_from([0.9, 0.95, 0.99, 1 - 0.05 / 9]))
def test_the_p_value_is_the_level_at_which_the_interval_leaves_zero_out(values, level):
    low, high = difference_interval(np.array(values), 0.25, level=level)
    p = difference_p(np.array(values), 0.25)
    assert 0 < p <= 1
    if abs(p - (1 - level)) > 1e-6:
        assert (low > 0 or high < 0) == (p < 1 - level)


@pytest.mark.parametrize("problems", [2, 3, 4, 5, 6, 8])
def test_problems_of_one_sign_claim_no_more_than_a_sign_test_could(problems):
    assert difference_p(np.ones(problems), 1.0) >= 2.0 ** (1 - problems)
    low, _ = difference_interval(np.ones(problems), 1.0)
    assert (low > 0) == (problems >= 6)


def test_cases_are_taken_at_once_along_the_last_axis():
    d = np.random.default_rng(3).integers(-4, 5, (3, 5, 12)) / 4
    low, high = difference_interval(d, 0.25)
    assert low.shape == high.shape == (3, 5)
    one = difference_interval(d[1, 2], 0.25)
    assert (low[1, 2], high[1, 2]) == pytest.approx(one)


def test_six_ties_and_two_problems_are_not_certain():
    """Student's t gave +0.000 to +0.000 on six ties, and ends below -1 on two problems."""
    six = paired_difference([1] * 6, range(6), [1] * 6, range(6))
    assert six.low < -0.3 < 0.3 < six.high
    two = paired_difference([0, 0, 1, 0], list("aabb"), [1, 1, 1, 1], list("aabb"))
    assert two.low >= -1


def test_repeats_may_differ_and_coarse_ones_widen():
    fine = paired_difference([1] * 80, [*range(20)] * 4, [1] * 80, [*range(20)] * 4)
    coarse = paired_difference([1] * 20, range(20), [1] * 20, range(20))
    assert coarse.high > 1.3 * fine.high
    mixed = paired_difference([1, 1, 0], list("aab"), [0, 1], list("ba"))
    assert mixed.value == 0.0
    assert (mixed.items, mixed.clusters) == (5, 2)


def test_paired_difference_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="1 are on one side only, such as c"):
        paired_difference([1, 0], list("ab"), [1, 0, 1], list("abc"))
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        paired_difference([2.0, 0], list("ab"), [1, 0], list("ab"))
    with pytest.raises(ValueError, match="two problems"):
        difference_interval([0.5], 1.0)
    one = paired_difference([1], ["a"], [0], ["a"])
    assert (one.value, one.low, one.high) == (1.0, None, None)


# A small part of benchmarks/statistics/differences.py, at sizes where Student's t failed worst.
@pytest.mark.parametrize(("problems", "repeats"), [(8, 4), (12, 16), (30, 1)])
def test_coverage_where_few_problems_gain(problems, repeats):
    rng = np.random.default_rng(problems)
    chances = np.repeat([0.02, 0.98], [30, 970])
    gained = np.where(chances < 0.5, 0.7, chances)
    which = rng.integers(0, 1000, (1500, problems))
    d = rng.binomial(repeats, gained[which]) - rng.binomial(repeats, chances[which])
    d = d / repeats
    truth = (gained - chances).mean()
    low, high = difference_interval(d, 1 / repeats)
    half = stats.t.ppf(0.975, problems - 1) * stats.sem(d, axis=1)
    plain = (np.abs(d.mean(axis=1) - truth) <= half).mean()
    assert ((low <= truth) & (truth <= high)).mean() >= 0.93
    assert plain < 0.9


def test_pairing_is_narrower_than_two_means():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(100), 16).tolist()
    difficulty = np.repeat(0.1 + 0.7 * rng.beta(0.55, 0.3, 100), 16)
    first, second = rng.binomial(1, difficulty + 0.02), rng.binomial(1, difficulty)
    paired = paired_difference(first, labels, second, labels)
    means = [x.reshape(100, 16).mean(axis=1) for x in (first, second)]
    apart = 2 * 1.96 * np.hypot(*(stats.sem(m) for m in means))
    assert paired.high - paired.low < 0.5 * apart
