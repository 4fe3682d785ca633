"""Rows whose models go by one name and are two."""

import pytest

from atts_harness.analysis.leaderboard.conditions import differences
from atts_harness.results.values import Conditions

KNOWN = {"engine": "vllm", "model": "/models/QwQ-32B", "weights": "aa", "dtype": "bfloat16"}


def of(**fields):
    return Conditions(models={"target": KNOWN | fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "bb"}, "target of one name: weights 'bb', there 'aa'"),
        ({"dtype": "float8"}, "target of one name: dtype 'float8', there 'bfloat16'"),
        ({"model": "Qwen/qwq-32b", "dtype": "float8"}, "dtype 'float8'"),
    ],
)
def test_two_models_under_one_name_are_a_difference(fields, words):
    (found,) = differences(of(**fields), of())
    assert words in found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"version": "9"},
        {"engine": "sglang"},
        {"model": "/other/QwQ-32B"},
        {"model": "other/model", "weights": "bb"},  # another pair, on purpose
    ],
)
def test_other_differences_of_models_are_none_of_the_conditions(fields):
    assert differences(of(**fields), of()) == ()
