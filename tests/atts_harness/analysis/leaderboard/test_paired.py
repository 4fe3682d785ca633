"""Paired comparisons: against enumeration, hand computation, scipy and simulation."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atts_harness.analysis.leaderboard.paired import compare, holm, mcnemar, sign_flip_p, verdict
from atts_harness.analysis.leaderboard.rows import INDISTINCT, Interval
from atts_harness.analysis.statistics import paired_difference

differences = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=9)


def enumerated(values):
    """Twice the smaller tail over all 2^n sign patterns, in exact arithmetic."""
    exact = [Fraction(v) for v in values]
    seen = sum(exact)
    sums = [
        sum(sign * v for sign, v in zip(signs, exact, strict=True))
        for signs in itertools.product((1, -1), repeat=len(exact))
    ]
    low = sum(s <= seen for s in sums)
    high = sum(s >= seen for s in sums)
    return min(1.0, 2 * min(low, high) / len(sums))


@settings(deadline=None, max_examples=60)
@given(differences)
def test_flipping_signs_equals_enumeration(values):
    assert sign_flip_p(values) == pytest.approx(enumerated(values))


def test_flipping_signs_agrees_with_scipy_where_patterns_are_drawn():
    values = np.random.default_rng(1).normal(0.3, 1, 40)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=7
    )
    ours = sign_flip_p(values)
    error = 4 * math.sqrt(theirs.pvalue * (1 - theirs.pvalue) * (1 / 9999 + 1 / 20_000))
    assert abs(ours - theirs.pvalue) < 2 * error
    assert ours == sign_flip_p(values)  # the patterns' seed is fixed


def test_no_difference_anywhere_is_no_evidence():
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([0.0, 0.5, 0.0]) == 1.0
    with pytest.raises(ValueError, match="two questions"):
        sign_flip_p([0.5])


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(one, other):
    first = [True] * one + [False] * other + [True, False]
    second = [False] * one + [True] * other + [True, False]
    found = mcnemar(first, second)
    assert (found.first, found.second) == (one, other)
    n = one + other
    if n == 0:
        assert found.p == 1.0
        return
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1)) / 2**n
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.p == pytest.approx(stats.binomtest(one, n).pvalue)


def test_holm_by_hand():
    # 4 tests: .01*4, .02*3, .03*2, .2*1, and never below the one before
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.6, None, 0.7]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(values):
    for raw, adjusted in zip(values, holm(values), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(values))
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted = [holm(values)[i] for i in order]
    assert adjusted == sorted(adjusted)


def test_only_shared_questions_and_repeats_are_compared():
    first = {("a", 0): True, ("a", 1): True, ("b", 0): True, ("c", 0): False}
    second = {("a", 0): False, ("b", 0): True, ("b", 1): False}
    found = compare(first, second)
    assert (found.problems, found.samples) == (2, 2)
    assert found.difference.value == 0.5  # a: 1 - 0, b: 1 - 1
    assert (found.mcnemar.first, found.mcnemar.second) == (1, 0)
    assert compare(first, {("z", 0): True}) is None


def test_one_question_has_no_interval_and_no_test():
    found = compare({("a", 0): True, ("a", 1): True}, {("a", 0): False, ("a", 1): True})
    assert found.p is None
    assert found.difference.low is None
    assert found.difference.value == 0.5
    assert "no interval" in verdict(found.difference, None, "target-only", 0.95)


def test_the_verdict_is_by_the_corrected_p():
    better = Interval(value=0.2, low=0.1, high=0.3)
    assert verdict(better, 0.04, "atts", 0.95) == "better than atts"
    assert verdict(better, 0.06, "atts", 0.95) == INDISTINCT
    assert verdict(Interval(value=-0.2), 0.05, "atts", 0.95) == "worse than atts"


def simulated(rng, questions, repeats, gain, noise):
    """Two methods on questions of different difficulty, whose gain differs from one to another."""
    ease = rng.beta(0.8, 0.8, questions)
    other = np.clip(ease + gain + rng.normal(0, noise, questions), 0, 1)
    first = rng.random((questions, repeats)) < other[:, None]
    second = rng.random((questions, repeats)) < ease[:, None]
    return first, second


def test_paired_clustered_intervals_cover():
    """A smaller run of benchmarks/analysis/paired.py, whose figures are in docs/reports.md."""
    rng = np.random.default_rng(5)
    truth = np.mean(
        [np.subtract(*map(np.mean, simulated(rng, 400, 4, 0.1, 0.1))) for _ in range(400)]
    )
    covered = rejected = 0
    rounds = 600
    names = np.repeat(np.arange(30), 4)
    for _ in range(rounds):
        first, second = simulated(rng, 30, 4, 0.1, 0.1)
        found = paired_difference(first.ravel(), names, second.ravel(), names)
        covered += found.low <= truth <= found.high
    assert 0.92 < covered / rounds < 0.98  # 3 standard errors are .027
    for seed in range(300):
        first, second = simulated(np.random.default_rng(seed), 12, 4, 0.0, 0.0)
        p = sign_flip_p((first.mean(1) - second.mean(1)).tolist())
        rejected += p <= 0.05
    assert rejected / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
