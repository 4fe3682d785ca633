"""What lm-eval's command says at its end, and when it sets a status."""

import logging
import subprocess
import sys

import pytest
from atts_lm_eval import ending

from atts_harness.errors import SettingError
from atts_harness.results.statistics import TakeoverStatistics
from atts_harness.settings import parse_settings


@pytest.fixture(autouse=True)
def nothing_said():
    ending._lines.clear()
    yield
    ending._lines.clear()


def statistics(judged, **apart):
    return TakeoverStatistics(judged_turns=judged, takeovers=1, counted_apart=apart)


def test_a_share_above_the_setting_is_remembered_for_the_end(caplog):
    with caplog.at_level(logging.WARNING):
        ending.add_unjudged("t", statistics(8, failed=1, empty=1), most=0.05)
    (line,) = ending._lines
    assert "t: 2 of 10 turns (20.0%) were taken over without being judged" in line
    assert "more than max_unjudged=0.05" in line
    assert "20.0%" in caplog.text


def test_a_smaller_share_is_a_warning_only(caplog):
    with caplog.at_level(logging.WARNING):
        ending.add_unjudged("t", statistics(99, empty=1), most=0.05)
    assert ending._lines == []
    assert "1 of 100 turns (1.0%)" in caplog.text


def test_a_run_in_which_every_score_failed_says_what_it_is():
    ending.add_unjudged("t", statistics(0, **{"score-failed": 7}), most=1.0)
    assert ending._lines == []  # somebody said that all may
    ending.add_unjudged("t", statistics(0, **{"score-failed": 7}), most=0.5)
    assert "No turn was judged" in ending._lines[0]


def test_a_run_without_unjudged_turns_says_nothing(caplog):
    ending.add_unjudged("t", statistics(5), most=0.0)
    assert ending._lines == []
    assert caplog.text == ""


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "many"])
def test_a_share_that_is_none_is_refused(value):
    with pytest.raises(SettingError, match="max_unjudged"):
        parse_settings({"strategy": "atts", "max_unjudged": value})


PROGRAM = """
from atts_harness.results.statistics import TakeoverStatistics
from atts_lm_eval import ending
ending.install()
ending.add_unjudged("t", TakeoverStatistics({fields}), most=0.05)
"""


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("counted_apart={'score-failed': 3}", 3),
        ("judged_turns=97, counted_apart={'score-failed': 3}", 0),
        ("judged_turns=97, counted_apart={'score-failed': 3, 'empty-draft': 3}", 3),
    ],
)
def test_the_command_ends_with_status_3_above_the_share(fields, status):
    code = PROGRAM.format(fields=fields)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == status
    assert ("(exit status 3)" in done.stderr) == (status == 3)
