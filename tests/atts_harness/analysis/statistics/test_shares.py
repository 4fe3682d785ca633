"""Shares over problems: against Wilson where problems are single turns, and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atts_harness.analysis.statistics import clustered_ratio, share_interval

counts = st.lists(
    st.integers(1, 20).flatmap(lambda t: st.tuples(st.integers(0, t), st.just(t))),
    min_size=2,
    max_size=30,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (20, 40), (400, 1000)])
def test_single_turns_give_wilsons_interval(hits, n):
    """As scipy has it, but for Student's quantile and n - 1; both fade as n grows."""
    low, high = share_interval([1] * hits + [0] * (n - hits), [1] * n)
    t, z = stats.t.ppf(0.975, n - 1), stats.norm.ppf(0.975)
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    same = (t / z) ** 2 * (n / (n - 1) if 0 < hits < n else 1)
    centre = (hits / n + z**2 * same / 2 / n) / (1 + z**2 * same / n)
    assert (low + high) / 2 == pytest.approx(centre)
    assert low == pytest.approx(theirs.low, abs=0.02)
    assert high == pytest.approx(theirs.high, abs=0.02)


@given(counts, st.sampled_from([0.9, 0.95, 0.999]))
def test_in_range_around_the_share_never_without_width_and_the_same_for_the_misses(pairs, level):
    hits, turns = map(np.array, zip(*pairs, strict=True))
    low, high = share_interval(hits, turns, level=level)
    assert 0 <= low <= hits.sum() / turns.sum() <= high <= 1
    assert high - low > 1e-3
    other = share_interval(turns - hits, turns, level=level)
    assert other == pytest.approx((1 - high, 1 - low))


def test_no_takeover_counts_a_problem_as_one_draw():
    """Nothing is known of how takeovers cluster, so sixty turns of six problems are six draws."""
    _, high = share_interval(np.zeros(6), np.full(6, 10.0))
    t2 = stats.t.ppf(0.975, 5) ** 2
    assert high == pytest.approx(t2 / (6 + t2))


def test_a_problem_that_holds_most_turns_is_hardly_more_than_one_draw():
    """Its own residual is small, for it has pulled the share to itself."""
    low, high = share_interval([300, 2, 2, 2], [1000, 10, 10, 10])
    assert low < 0.05
    assert high > 0.8
    even = share_interval([75, 75, 75, 75], [250] * 4)
    assert even[1] - even[0] < high - low
    assert share_interval([300, 0], [1000, 0])[1] > 0.95


def test_the_share_is_over_all_turns():
    estimate = clustered_ratio([1, 0], [1, 3], list("ab"))
    assert estimate.value == 0.25
    assert (estimate.items, estimate.clusters) == (2, 2)
    assert clustered_ratio([1], [3], ["a"]).low is None


def test_it_refuses_what_is_no_share():
    with pytest.raises(ValueError, match="denominators"):
        clustered_ratio([0, 0], [0, 0], list("ab"))
    with pytest.raises(ValueError, match="numerators"):
        clustered_ratio([2, 0], [1, 1], list("ab"))
    with pytest.raises(ValueError, match="two problems"):
        share_interval([1], [2])


# A small part of benchmarks/statistics/shares.py.
@pytest.mark.parametrize("problems", [8, 15, 30, 100])
def test_rare_takeovers_of_unequal_problems_are_covered(problems):
    rng = np.random.default_rng(problems)
    rate = 0.05
    between = np.sqrt(0.63) * rng.standard_normal((1500, problems))
    chance = stats.norm.cdf((between - stats.norm.isf(rate)) / np.sqrt(0.37))
    turns = rng.poisson(40, chance.shape) + 1
    hits = rng.binomial(turns, chance)
    low, high = share_interval(hits, turns)
    share = hits.sum(1) / turns.sum(1)
    residuals = hits - share[:, None] * turns
    error = np.sqrt((residuals**2).sum(1) * problems / (problems - 1)) / turns.sum(1)
    plain = np.abs(share - rate) <= stats.t.ppf(0.975, problems - 1) * error
    assert ((low <= rate) & (rate <= high)).mean() >= 0.93
    assert plain.mean() < 0.93
