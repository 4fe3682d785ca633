"""Many comparisons at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_harness.analysis.statistics import Family, difference_interval, difference_p


def test_each_interval_takes_its_share_of_the_error():
    assert Family(1).each == pytest.approx(0.95)
    assert Family(10).each == pytest.approx(0.995)
    assert Family(0).each == pytest.approx(0.95)
    assert Family(4).adjusted(0.01) == pytest.approx(0.04)
    assert Family(4).adjusted(0.5) == 1.0


@pytest.mark.parametrize(("size", "needed"), [(1, 6), (2, 7), (6, 8), (7, 9), (8, 9), (13, 10)])
def test_so_many_problems_are_needed(size, needed):
    family = Family(size)
    assert family.needed == needed
    assert family.reaches(needed)
    assert not family.reaches(needed - 1)


def test_eight_problems_cannot_decide_eight_comparisons():
    low, _ = difference_interval(np.ones(8), 1 / 16, level=Family(8).each)
    assert low == 0.0
    low, _ = difference_interval(np.ones(9), 1 / 16, level=Family(8).each)
    assert low > 0


@given(
    st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=30),
    st.integers(1, 12),
)
def test_verdicts_and_intervals_cannot_contradict(values, size):
    family = Family(size)
    low, high = difference_interval(values, 0.25, level=family.each)
    adjusted = family.adjusted(difference_p(values, 0.25))
    if abs(adjusted - 0.05) > 1e-6:
        assert (low > 0 or high < 0) == (adjusted < 0.05)
