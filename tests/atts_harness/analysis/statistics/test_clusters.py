"""Resampling and shares of variance by cluster."""

import math

import numpy as np
import pytest

from atts_harness.analysis.statistics import between_share, cluster_bootstrap, clustered_mean


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
