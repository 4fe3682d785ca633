"""Identities of models: what of a difference decides, what is only said, what is recorded."""

import msgspec
import pytest

from atts_harness.identity import LEVELS, ModelIdentity, changes, decisive, read_identity

KNOWN = ModelIdentity(
    engine="vllm",
    model="/models/draft",
    version="0.32.0",
    weights="aa",
    revision=None,
    dtype="bfloat16",
    quantization="none",
    tokenizer="t",
    chat_template="c",
    eos_ids=(2, 7),
    probe=(-1.0, -2.0, -0.5),
    weights_full="aaaa",
    greedy=((12, "a fisherman named Olu"), (9, "to speak with others")),
    max_length=8192,
    platform={"torch": "2.9"},
    started="1700000000.0",
    server={"url": "http://127.0.0.1:1"},
)


def other(**fields):
    return msgspec.structs.replace(KNOWN, **fields)


def test_every_field_has_a_level():
    assert set(LEVELS) == set(ModelIdentity.__struct_fields__)


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": "bb"},
        {"weights_full": "bbbb"},
        {"greedy": ((12, "an old woman"), (9, "that they travel"))},
        {"greedy": ((13, "a fisherman named Olu"), (9, "to speak with others"))},
        {"dtype": "float16"},
        {"quantization": "fp8"},
        {"kv_cache_dtype": "fp8_e5m2"},
        {"adapter": "my-lora"},
        {"tokenizer": "u"},
        {"chat_template": "d"},
        {"eos_ids": (2,)},
        {"probe": (-1.0, -2.0, -2.5)},
        {"probe": (-1.0, -2.0)},
    ],
)
def test_another_model(fields):
    (change,) = decisive(KNOWN, other(**fields))
    assert change.name in fields
    assert str(change).startswith(f"{change.name} was ")


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({"version": "0.33.0"}, "warns"),
        ({"engine": "sglang"}, "warns"),
        ({"max_length": 4096}, "warns"),
        ({"speculative": {"speculative-algorithm": "EAGLE"}}, "warns"),
        ({"platform": {"torch": "2.10"}}, "warns"),
        ({"started": "1700000099.0"}, "informs"),
        ({"server": {"url": "http://127.0.0.1:2"}}, "informs"),
        ({"model": "/elsewhere/draft"}, "informs"),  # the same weights at another path
        ({"revision": "main"}, "informs"),
    ],
)
def test_the_same_model(fields, level):
    assert [change.level for change in changes(KNOWN, other(**fields))] == [level]


def test_names_and_revisions_decide_where_the_weights_are_not_known():
    before = other(weights=None)
    for fields in ({"model": "other/model"}, {"revision": "v2"}):
        assert decisive(before, other(weights=None, **fields))
        assert decisive(before, other(**fields))


def test_what_only_one_of_them_tells_is_worth_a_word():
    found = changes(KNOWN, other(quantization=None))
    assert [change.level for change in found] == ["warns"]
    assert str(found[0]) == "quantization was 'none', now not known"
    assert [change.level for change in changes(KNOWN, other(probe=None))] == ["informs"]


def test_rounding_does_not_make_another_model():
    assert changes(KNOWN, other(probe=(-1.1, -1.9, -0.6))) == []


def test_records_are_read_back_and_those_of_earlier_releases_too():
    assert read_identity(KNOWN.record()) == KNOWN
    old = {"engine": "transformers", "model": "m", "template": "c", "torch": "2.9", "device": "cpu"}
    assert read_identity(old).chat_template == "c"
    assert read_identity({}).model == "unknown"


def test_greedy_texts_that_part_late_or_behind_one_prompt_are_said_and_no_more():
    near = ((12, "a fisherman named Ola"), (9, "for their work"))
    (change,) = changes(KNOWN, other(greedy=near))
    assert change.level == "warns"
    assert "a fisherman named Olu" in change.before


@pytest.mark.parametrize("name", ["probe", "greedy", "weights_full"])
def test_what_was_not_asked_for_before_is_no_difference_worth_a_word(name):
    (change,) = changes(other(**{name: None}), KNOWN)
    assert change.level == "informs"
