"""Paired comparisons: against enumeration, hand computation, scipy and simulation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atts_harness.analysis.leaderboard.paired import compare, mcnemar, verdict
from atts_harness.analysis.leaderboard.rows import INDISTINCT, Interval
from atts_harness.analysis.statistics import Family


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
    assert found.no_worse(0.02, 0.95) is None
    assert "no interval" in verdict(found.difference, 1, "target-only", Family(1))


def test_the_verdict_is_by_the_interval_that_stands_beside_it():
    better = Interval(value=0.2, low=0.1, high=0.3)
    assert verdict(better, 30, "atts", Family(3)) == "better than atts"
    assert verdict(Interval(value=0.2, low=0.0, high=0.3), 30, "atts", Family(3)) == INDISTINCT
    assert verdict(Interval(value=-0.2, low=-0.3, high=-0.1), 30, "atts", Family(3)).startswith(
        "worse"
    )


def test_it_says_where_no_verdict_could_be_reached_and_how_many_problems_could():
    """Eight problems of one sign have p = 2 / 2^8, more than .05 / 8."""
    held = {(q, 0): True for q in range(8)}
    lost = {(q, 0): False for q in range(8)}
    family = Family(8)
    found = compare(held, lost).interval(family.each)
    assert found.low == 0.0
    assert verdict(found, 8, "atts", family) == "out of reach: 8 problems, 9 could"


def test_a_margin_in_words():
    same = {(q, r): (q + r) % 3 > 0 for q in range(60) for r in range(4)}
    known = compare(same, same).no_worse(0.05, 0.95)
    assert known.outcome == "no worse"
    assert known.words == "no worse by more than 0.05"
    assert -0.05 < known.low < 0 < known.high
    coarse = compare(same, same).no_worse(0.001, 0.95)
    assert coarse.words.startswith("inconclusive: about ")
    assert coarse.more > 0
    lost = dict.fromkeys(same, False)
    assert compare(lost, same).no_worse(0.05, 0.95).words == "worse by more than 0.05"
