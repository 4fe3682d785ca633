"""pass@k and maj@k against enumeration."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.analysis.statistics import maj_at_k, pass_at_k


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
