"""No worse than a reference by more than a margin."""

import numpy as np
import pytest
from scipy import stats

from atts_harness.analysis.statistics import difference_bounds, equivalence


def test_without_skew_and_with_many_problems_the_bounds_are_students():
    d = np.random.default_rng(0).normal(0, 0.2, 5000).clip(-1, 1)
    low, high = difference_bounds(d, 0.25)
    t_low, t_high = stats.t.interval(0.9, 4999, d.mean(), stats.sem(d))
    assert low == pytest.approx(t_low, abs=2e-4)
    assert high == pytest.approx(t_high, abs=2e-4)


def test_the_three_outcomes():
    rng = np.random.default_rng(1)
    d = (rng.binomial(4, 0.7, 2000) - rng.binomial(4, 0.7, 2000)) / 4
    assert equivalence(d, 0.25, margin=0.05).outcome == "no worse"
    assert equivalence(d - 0.1, 0.25, margin=0.05).outcome == "worse"
    found = equivalence(d[:40], 0.25, margin=0.02)
    assert found.outcome == "inconclusive"
    assert found.low <= -0.02 <= found.high
    assert found.more > 0
    assert equivalence(d, 0.25, margin=0.05).more == 0


def test_so_many_more_problems_do_tell():
    """The number it names reaches the power of .8 it is planned for, roughly."""
    rng = np.random.default_rng(5)
    told = []
    pilot = (rng.binomial(4, 0.7, 60) - rng.binomial(4, 0.7, 60)) / 4
    needed = 60 + equivalence(pilot - pilot.mean(), 0.25, margin=0.04).more
    for _ in range(300):
        d = (rng.binomial(4, 0.7, needed) - rng.binomial(4, 0.7, needed)) / 4
        told.append(equivalence(d, 0.25, margin=0.04).outcome == "no worse")
    assert 0.7 < np.mean(told) < 0.92


def test_a_hundred_ties_do_not_show_that_two_in_a_hundred_are_not_lost():
    """None of 100 is lost one time in seven where two should be; 150 ties are enough at 5 %."""
    assert equivalence(np.zeros(100), 1.0, margin=0.02).outcome == "inconclusive"
    assert equivalence(np.zeros(160), 1.0, margin=0.02).outcome == "no worse"


def test_ties_with_one_repeat_have_the_exact_bound():
    """No loss in n: the bound of scipy's exact test of a rate."""
    exact = stats.binomtest(0, 40, alternative="less").proportion_ci(0.95, method="exact")
    low, high = difference_bounds(np.zeros(40), 1.0)
    assert low == pytest.approx(-exact.high, rel=1e-6)
    assert high == pytest.approx(exact.high, rel=1e-6)


def test_a_kind_of_problem_that_was_not_drawn_is_allowed_for():
    """One problem in twelve loses .6 of its samples: 30 problems show none of it 7 times in 100."""
    rng = np.random.default_rng(3)
    cases, n, k = 4000, 30, 16
    lost = 0.6 * (rng.random((cases, n)) < 1 / 12)
    chance = np.full((cases, n), 0.95)
    d = (rng.binomial(k, chance - lost) - rng.binomial(k, chance)) / k
    low, _ = difference_bounds(d, 1 / k)
    plain = d.mean(1) - stats.norm.ppf(0.95) * stats.sem(d, axis=1)
    assert (low > -0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / cases)
    assert (plain > -0.05).mean() > 0.08


def test_what_may_be_unseen_costs_nothing_where_the_noise_is_larger():
    rng = np.random.default_rng(4)
    d = (rng.binomial(1, 0.5, (1, 400)) - rng.binomial(1, 0.5, (1, 400))) * 1.0
    (low,), (high,) = difference_bounds(d, 1.0)
    t_low, t_high = stats.t.interval(0.9, 399, d.mean(), stats.sem(d, axis=1)[0])
    assert high - low == pytest.approx(t_high - t_low, rel=0.01)


def test_the_power_knows_what_may_be_unseen():
    """Of 30 problems with hardly any noise a z-test would be sure; a kind may be missing."""
    rng = np.random.default_rng(6)
    d = (rng.binomial(64, 0.98, 30) - rng.binomial(64, 0.98, 30)) / 64
    assert equivalence(d, 1 / 64, margin=0.05).power < 0.8
    assert equivalence(np.tile(d, 4), 1 / 64, margin=0.05).power > 0.99


# A small part of benchmarks/statistics/gate.py: losses of a few problems, at exactly the margin.
@pytest.mark.parametrize(("problems", "repeats"), [(30, 4), (100, 1), (500, 1)])
def test_false_gos_where_nothing_but_losses_are_seen(problems, repeats):
    rng = np.random.default_rng(problems)
    d = -rng.binomial(repeats, 0.02, (4000, problems)) / repeats
    low, _ = difference_bounds(d, 1 / repeats)
    plain = d.mean(1) - stats.norm.ppf(0.95) * stats.sem(d, axis=1)
    assert (low > -0.02).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert (plain > -0.02).mean() > 0.055


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_has_to_lie_in_range(margin):
    with pytest.raises(ValueError, match="margin"):
        equivalence([0.0, 0.0], 1.0, margin=margin)


def test_confidence_has_to_be_one():
    with pytest.raises(ValueError, match="confidence"):
        difference_bounds([0.0, 0.0], 1.0, confidence=0.5)
