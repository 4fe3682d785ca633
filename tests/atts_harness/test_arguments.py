"""Settings as text, and back."""

import pytest

from atts_harness.arguments import format_arguments, parse_arguments, parse_pairs
from atts_harness.errors import SettingError


def test_pairs_stay_text():
    assert parse_arguments("a=1, b=x=y,", "--model-args") == {"a": "1", "b": "x=y"}
    assert parse_arguments("", "--model-args") == {}
    assert parse_pairs(["a=1,b=2", "c=3"], "--x") == {"a": "1", "b": "2", "c": "3"}


def test_an_object_keeps_types_and_commas():
    settings = {"a": 1, "b": "x,y", "c": [True, None]}
    assert parse_arguments(format_arguments(settings), "--model-args") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1,b", "--model-args: 'b' is not NAME=VALUE"),
        ("=1", "--model-args: '=1' is not NAME=VALUE"),
        ('{"a": 1', "--model-args: not a JSON object: .*truncated"),
    ],
)
def test_what_is_neither_is_refused(text, message):
    with pytest.raises(SettingError, match=message):
        parse_arguments(text, "--model-args")


def test_the_shape_of_a_part_can_be_told():
    with pytest.raises(SettingError, match="--prices: 'draft' is not ROLE=IN/OUT"):
        parse_pairs(["draft"], "--prices", "ROLE=IN/OUT")
