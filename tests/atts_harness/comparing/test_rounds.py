"""Sampling until known, on a real sample log."""

import shutil
from pathlib import Path

import pytest

from atts_harness.comparing.plan import Until
from atts_harness.comparing.rounds import newest_log, next_round, precision_in
from atts_harness.errors import SettingError

DATA = Path(__file__).parents[1] / "analysis" / "leaderboard" / "data"
LOG = next((DATA / "atts").glob("samples_*.jsonl"))


def test_counts_are_those_of_the_log():
    now = precision_in(LOG, Until(half_width=0.05))
    assert now.repeats == 2
    assert now.needed > 2


def test_a_round_is_asked_for_until_the_cap(tmp_path):
    shutil.copy(LOG, tmp_path)
    assert newest_log(tmp_path).name == LOG.name
    after, words = next_round(tmp_path, Until(half_width=0.05))
    assert after in (3, 4)
    assert "over these problems after 2 repeats" in words
    after, words = next_round(tmp_path, Until(half_width=0.05, cap=2))
    assert after is None
    assert "the cap of 2 repeats is reached" in words
    after, words = next_round(tmp_path, Until(half_width=0.99))
    assert after is None
    assert "cap" not in words


def test_the_floor_over_problems_is_told_where_it_is_wider(tmp_path):
    shutil.copy(LOG, tmp_path)
    floor = precision_in(LOG, Until(half_width=0.05)).floor
    _, words = next_round(tmp_path, Until(half_width=0.05))
    assert ("gives less than" in words) == (floor > 0.05)


def test_without_grades_it_is_one_line(tmp_path):
    with pytest.raises(SettingError, match="found no sample log"):
        next_round(tmp_path, Until(half_width=0.05))
