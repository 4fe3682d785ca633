"""AUC over samples that come in problems."""

import numpy as np
import pytest
from scipy import stats

from atts_harness.analysis.statistics import clustered_auc


def test_it_is_the_mann_whitney_statistic_over_all_pairs():
    rng = np.random.default_rng(1)
    scores, marks = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    found = clustered_auc(scores, marks, [n // 4 for n in range(60)])
    theirs = stats.mannwhitneyu(scores[marks], scores[~marks]).statistic
    assert found.value == pytest.approx(theirs / (marks.sum() * (~marks).sum()))


def test_with_one_sample_a_problem_the_error_is_delongs():
    rng = np.random.default_rng(2)
    above, below = rng.normal(0.7, 1, 40), rng.normal(0, 1, 60)
    found = clustered_auc([*above, *below], [True] * 40 + [False] * 60, range(100))
    wins = above[:, None] > below[None, :]
    delong = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60
    assert found.stderr == pytest.approx(np.sqrt(delong), rel=0.02)


def test_perfect_separation_is_not_certainty():
    found = clustered_auc([3, 4, 1, 2], [True, True, False, False], list("abcd"))
    assert found.value == found.high == 1.0
    assert found.low < 0.6


def test_it_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="positive and negative"):
        clustered_auc([1.0, 2.0], [True, True], list("ab"))
    with pytest.raises(ValueError, match="one mark per score"):
        clustered_auc([1.0, 2.0], [True], list("ab"))
    assert clustered_auc([1.0, 2.0], [True, False], list("aa")).low is None


@pytest.mark.parametrize("problems", [15, 40])
def test_coverage_where_problems_share_their_difficulty(problems):
    rng = np.random.default_rng(problems)

    def draw(count):
        hard = rng.standard_normal((count, 1))
        wrong = rng.random((count, 4)) < 1 / (1 + np.exp(1 - 2 * hard))
        return hard + rng.standard_normal((count, 4)), wrong

    scores, wrong = draw(20_000)
    truth = clustered_auc(scores.ravel(), wrong.ravel(), np.repeat(range(20_000), 4).tolist()).value
    names = np.repeat(np.arange(problems), 4).tolist()
    held = []
    for _ in range(400):
        scores, wrong = draw(problems)
        if wrong.any() and not wrong.all():
            found = clustered_auc(scores.ravel(), wrong.ravel(), names)
            held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.93
