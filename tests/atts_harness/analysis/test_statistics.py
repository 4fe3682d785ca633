"""Estimators against enumeration, intervals against simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.analysis.statistics import (
    between_share,
    cluster_bootstrap,
    clustered_mean,
    clustered_ratio,
    maj_at_k,
    paired_difference,
    pass_at_k,
)


def test_pass_at_k_equals_enumeration_of_all_small_cases():
    cases = 0
    for n in range(1, 10):
        for c in range(n + 1):
            marks = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                hits = [any(subset) for subset in itertools.combinations(marks, k)]
                assert pass_at_k(n, c, k) == pytest.approx(sum(hits) / len(hits), abs=1e-15)
                cases += 1
    assert cases == sum(n * (n + 1) for n in range(1, 10))


def test_pass_at_k_is_not_one_as_soon_as_one_sample_is_right():
    assert pass_at_k(16, 1, 1) == 1 / 16
    assert pass_at_k(16, 1, 16) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5), (0, 0, 1)])
def test_pass_at_k_refuses_what_has_no_answer(n, c, k):
    with pytest.raises(ValueError, match="pass_at_k"):
        pass_at_k(n, c, k)


def _majority_credit(subset):
    votes = {}
    for vote in subset:
        if vote is not None:
            votes[vote] = votes.get(vote, 0) + 1
    if not votes:
        return 0.0
    top = max(votes.values())
    tied = [v for v, count in votes.items() if count == top]
    return ("right" in tied) / len(tied)


def _exhaustive(right, wrong, abstained, k):
    ballots = ["right"] * right + [None] * abstained
    for number, size in enumerate(wrong):
        ballots += [number] * size
    credits = [_majority_credit(s) for s in itertools.combinations(ballots, k)]
    return sum(credits) / len(credits)


def _partitions(total, most=None):
    if total == 0:
        yield []
        return
    for head in range(min(total, most or total), 0, -1):
        for tail in _partitions(total - head, head):
            yield [head, *tail]


def test_maj_at_k_equals_exhaustive_subsampling_of_all_small_cases():
    cases = 0
    for n in range(1, 8):
        for right in range(n + 1):
            for abstained in range(n - right + 1):
                for wrong in _partitions(n - right - abstained):
                    for k in range(1, n + 1):
                        assert maj_at_k(right, wrong, abstained, k) == pytest.approx(
                            _exhaustive(right, wrong, abstained, k), abs=1e-12
                        )
                        cases += 1
    assert cases > 600


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_maj_at_k_equals_exhaustive_subsampling_of_larger_cases(data):
    right = data.draw(st.integers(0, 6))
    wrong = data.draw(st.lists(st.integers(1, 4), max_size=3))
    abstained = data.draw(st.integers(0, 2))
    n = right + sum(wrong) + abstained
    if n == 0:
        return
    k = data.draw(st.integers(1, n))
    assert maj_at_k(right, wrong, abstained, k) == pytest.approx(
        _exhaustive(right, wrong, abstained, k), abs=1e-12
    )


def test_maj_at_one_is_pass_at_one_and_the_full_vote_is_the_vote():
    assert maj_at_k(5, [4, 3], 4, 1) == pytest.approx(5 / 16)
    assert maj_at_k(5, [4, 3], 4, 16) == 1.0
    assert maj_at_k(4, [4, 4], 4, 16) == pytest.approx(1 / 3)
    assert maj_at_k(0, [], 16, 16) == 0.0


@pytest.mark.parametrize("args", [(-1, [], 2, 1), (1, [0], 0, 1), (1, [1], 0, 3), (1, [1], 0, 0)])
def test_maj_at_k_refuses_what_has_no_answer(args):
    with pytest.raises(ValueError, match="maj_at_k"):
        maj_at_k(*args)


def test_clustered_mean_is_what_lm_eval_prints_for_question_means():
    metrics = pytest.importorskip("lm_eval.api.metrics")
    values = [1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    questions = [q for q in "abc" for _ in range(4)]
    means = [0.75, 0.25, 1.0]
    estimate = clustered_mean(values, questions)
    assert estimate.value == pytest.approx(metrics.mean(means))
    assert estimate.stderr == pytest.approx(metrics.mean_stderr(means))
    assert (estimate.items, estimate.clusters) == (12, 3)


def test_every_question_counts_the_same_however_many_repeats_it_has():
    assert clustered_mean([1, 0, 0, 0, 0], list("abbbb")).value == 0.5


def test_one_cluster_has_no_standard_error():
    estimate = clustered_mean([1, 0], ["q", "q"])
    assert (estimate.stderr, estimate.low, estimate.high) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [([], [], "no values"), ([1.0], ["a", "b"], "label"), ([math.nan], ["a"], "finite")],
)
def test_clustered_mean_refuses_bad_input(values, clusters, message):
    with pytest.raises(ValueError, match=message):
        clustered_mean(values, clusters)


def test_bounds_are_held_and_checked():
    sure = clustered_mean([1] * 30, range(30), bounds=(0, 1))
    assert sure.high == 1.0
    assert 0.8 < sure.low < 1.0
    with pytest.raises(ValueError, match="outside bounds"):
        clustered_mean([2], ["a"], bounds=(0, 1))


# Beta-binomial questions with the published runs' mean pass@1 (.826) and a between-question share
# of variance at both ends of what they show; set sizes of the benchmarks. 2,000 draws put the
# binomial standard error of a coverage of .95 at .005.
@pytest.mark.parametrize("share", [0.59, 0.76])
@pytest.mark.parametrize("questions", [15, 30, 100, 500])
def test_clustered_intervals_cover_nominally_where_naive_ones_do_not(share, questions):
    rng = np.random.default_rng(20240)
    mean, repeats, draws = 0.826, 16, 2000
    spread = 1 / share - 1
    covered = naive = 0
    for _ in range(draws):
        difficulty = rng.beta(mean * spread, (1 - mean) * spread, questions)
        counts = rng.binomial(repeats, difficulty)
        interval = clustered_mean(counts / repeats, range(questions), bounds=(0, 1))
        covered += interval.low <= mean <= interval.high
        p = counts.sum() / (questions * repeats)
        half = 1.96 * math.sqrt(p * (1 - p) / (questions * repeats))
        naive += abs(p - mean) <= half
    assert 0.93 <= covered / draws <= 0.975
    assert naive / draws < 0.60


@pytest.mark.parametrize(("mean", "least"), [(0.05, 0.95), (0.97, 0.95), (0.3, 0.93)])
def test_bounded_intervals_survive_sets_that_are_nearly_all_wrong_or_right(mean, least):
    rng = np.random.default_rng(7)
    spread = 1 / 0.6 - 1
    covered = 0
    for _ in range(1500):
        difficulty = rng.beta(mean * spread, (1 - mean) * spread, 30)
        shares = rng.binomial(16, difficulty) / 16
        interval = clustered_mean(shares, range(30), bounds=(0, 1))
        assert interval.low <= interval.value <= interval.high
        covered += interval.low <= mean <= interval.high
    assert covered / 1500 >= least


def test_paired_intervals_cover_and_are_narrower_than_unpaired_ones():
    rng = np.random.default_rng(3)
    questions, repeats, draws, gain = 100, 16, 1000, 0.02
    labels = np.repeat(np.arange(questions), repeats).tolist()
    covered, paired_width, unpaired_width = 0, 0.0, 0.0
    for _ in range(draws):
        difficulty = 0.1 + 0.7 * rng.beta(0.55, 0.3, questions)
        first = rng.binomial(1, np.repeat(difficulty + gain, repeats))
        second = rng.binomial(1, np.repeat(difficulty, repeats))
        paired = paired_difference(first, labels, second, labels)
        covered += paired.low <= gain <= paired.high
        paired_width += paired.high - paired.low
        a, b = clustered_mean(first, labels), clustered_mean(second, labels)
        unpaired_width += 2 * 1.96 * math.hypot(a.stderr, b.stderr)
    assert 0.93 <= covered / draws <= 0.97
    assert paired_width < 0.5 * unpaired_width


def test_paired_difference_wants_the_same_questions():
    assert paired_difference([1, 1, 0], list("aab"), [0, 1], list("ba")).value == 0.0
    with pytest.raises(ValueError, match=r"1 are on one side only, such as c"):
        paired_difference([1, 0], list("ab"), [1, 0, 1], list("abc"))


def test_clustered_ratio_is_the_share_over_all_turns_with_nominal_coverage():
    assert clustered_ratio([1, 0], [1, 3], list("ab")).value == 0.25
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(1000):
        turns = rng.integers(1, 15, 100)
        rates = rng.beta(0.4 * 3, 0.6 * 3, 100)
        hits = rng.binomial(turns, rates)
        interval = clustered_ratio(hits, turns, range(100))
        covered += interval.low <= 0.4 <= interval.high
    assert 0.925 <= covered / 1000 <= 0.975
    with pytest.raises(ValueError, match="denominators"):
        clustered_ratio([0, 0], [0, 0], list("ab"))


def test_cluster_bootstrap_agrees_with_the_formula_and_repeats_itself():
    rng = np.random.default_rng(5)
    values = rng.binomial(1, np.repeat(rng.beta(2, 1, 80), 8)).astype(float)
    labels = np.repeat(np.arange(80), 8).tolist()
    one = cluster_bootstrap(lambda items: float(values[items].mean()), labels, draws=800, seed=2)
    two = cluster_bootstrap(lambda items: float(values[items].mean()), labels, draws=800, seed=2)
    formula = clustered_mean(values, labels)
    assert one == two
    assert one.value == pytest.approx(formula.value)
    assert one.stderr == pytest.approx(formula.stderr, rel=0.12)
    with pytest.raises(ValueError, match="not finite"):
        cluster_bootstrap(lambda items: math.nan if items[0] else 0.0, labels, draws=20)


def test_between_share_recovers_the_share_it_was_made_with():
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(400), 16).tolist()
    noise = rng.normal(0, math.sqrt(0.35), 6400)
    values = np.repeat(rng.normal(0, math.sqrt(0.65), 400), 16) + noise
    assert between_share(values, labels) == pytest.approx(0.65, abs=0.04)
    assert between_share([1.0, 1.0, 2.0, 2.0], list("aabb")) == 1.0
    with pytest.raises(ValueError, match="vary"):
        between_share([1.0, 1.0, 1.0, 1.0], list("aabb"))
    with pytest.raises(ValueError, match="two clusters"):
        between_share([1.0, 0.0], list("ab"))
