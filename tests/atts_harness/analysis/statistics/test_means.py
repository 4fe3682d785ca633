"""One mean: against lm-eval, and its interval against simulation."""

import math

import numpy as np
import pytest

from atts_harness.analysis.statistics import clustered_mean


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
