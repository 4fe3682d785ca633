from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.conformal import pvalues
from atts_harness.conformal.banks import PooledBank, QuestionBank, Rank

# Few distinct values, so that ties and infinities are common.
SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.5, float("inf")])
ROWS = st.lists(st.tuples(st.integers(0, 4), SCORES), max_size=40)
TIES = st.floats(0.001, 1.0)


@settings(deadline=None)
@given(ROWS, SCORES, TIES)
def test_pooled_p_value_is_its_definition(rows, score, tie):
    bank = PooledBank(s for _, s in rows)
    expected = (sum(s > score for _, s in rows) + tie * (1 + sum(s == score for _, s in rows))) / (
        len(rows) + 1
    )
    rank = bank.rank(score)
    assert bank.p_value(rank, tie) == pytest.approx(expected, abs=1e-15)
    assert bank.p_value(rank, pvalues.CONSERVATIVE) == (1 + sum(s >= score for _, s in rows)) / (
        len(rows) + 1
    )


@settings(deadline=None)
@given(ROWS, SCORES)
def test_own_score_is_left_out(rows, score):
    bank = PooledBank(s for _, s in rows)
    for own in {s for _, s in rows}:
        rest = [s for _, s in rows]
        rest.remove(own)
        assert bank.rank(score, own_score=own) == PooledBank(rest).rank(score)


def hierarchical_by_definition(rows, score, question):
    others = {q for q, _ in rows} - {question}
    total = Fraction(1)
    for q in others:
        own = [s for other, s in rows if other == q]
        total += Fraction(sum(s >= score for s in own), len(own))
    return float(total / (len(others) + 1))


@settings(deadline=None)
@given(ROWS, SCORES, st.integers(0, 5))
def test_hierarchical_p_value_is_its_definition_however_the_bank_grew(rows, score, question):
    online = QuestionBank()
    for q, s in rows:
        online.add(s, q)
    by_question = {}
    for q, s in rows:
        by_question.setdefault(q, []).append(s)
    loaded = QuestionBank(by_question)
    expected = hierarchical_by_definition(rows, score, question)
    for bank in (online, loaded):
        rank = bank.rank(score, question)
        assert bank.p_value(rank, pvalues.CONSERVATIVE) == pytest.approx(expected, abs=1e-11)
        assert bank.p_value(rank, 0.5) <= bank.p_value(rank, 1.0)
    assert len(online) == len(loaded) == len(by_question)


def test_one_score_a_question_makes_hierarchical_conservative_pooled():
    scores = [0.3, 0.1, 0.7, 0.2]
    pooled, questions = PooledBank(scores), QuestionBank({q: [s] for q, s in enumerate(scores)})
    for score in (0.0, 0.15, 0.25, 0.5, 1.0):
        assert pooled.p_value(pooled.rank(score), 1.0) == questions.p_value(
            questions.rank(score, "new"), 1.0
        )


def test_the_published_rule_with_sixteen_scores_takes_over_too_often():
    """A bank of 16 rejects 7/17 as published and 6/17 with a valid p-value (nominal 0.4)."""
    places = range(17)  # how many of the 16 are below; all are as likely
    published = sum(pvalues.percentile(below, 16) >= 0.6 for below in places)
    valid = sum(pvalues.pooled(16 - below, 0, 16) <= 0.4 for below in places)
    assert (published, valid) == (7, 6)


@settings(deadline=None)
@given(st.integers(1, 5000), st.data())
def test_recorded_percentile_comes_back_bit_for_bit(size, data):
    below = data.draw(st.integers(0, size))
    percentile = pvalues.percentile(below, size)
    assert pvalues.recorded_percentile(1.0 - percentile, size) == percentile


def test_percentile_of_an_empty_bank_is_no_number():
    with pytest.raises(ZeroDivisionError):
        pvalues.percentile(0, 0)


@pytest.mark.parametrize(
    ("rate", "needed"), [(0.4, 2), (0.05, 19), (0.1, 9), (0.3, 3), (1 / 3, 2), (1.0, 0), (0.0, 0)]
)
def test_scores_needed(rate, needed):
    assert pvalues.scores_needed(rate) == needed


@settings(deadline=None)
@given(st.floats(1e-4, 1.0))
def test_scores_needed_is_the_smallest(rate):
    n = pvalues.scores_needed(rate)
    assert pvalues.pooled(0, 0, n) <= rate
    assert n == 0 or pvalues.pooled(0, 0, n - 1) > rate


def test_random_ties_never_reach_zero():
    assert pvalues.random_tie(0.0) == 1.0
    assert pvalues.random_tie(1.0 - 2**-53) > 0.0
    for draw in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\)"):
            pvalues.random_tie(draw)


def test_rank_says_what_is_below():
    assert Rank(above=3, equal=2, size=10).below == 5
