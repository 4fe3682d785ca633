"""A bank agrees with the models that answer, field by field of their identities."""

import logging

import pytest

from atts_harness.conformal.provenance import Provenance, check
from atts_harness.errors import SettingError

TARGET = {
    "engine": "vllm",
    "model": "QwQ-32B",
    "version": "0.32.0",
    "weights": "aa",
    "dtype": "bfloat16",
    "quantization": "none",
}


def made(**fields):
    return Provenance(task="t", target="QwQ-32B@aa", target_identity=TARGET | fields)


def agree(run):
    check(made(), run, "bank.json", first_turns_only=True)


@pytest.mark.parametrize(
    "fields",
    [{"quantization": "fp8"}, {"dtype": "float16"}, {"weights": "bb"}, {"adapter": "lora"}],
)
def test_a_bank_of_another_model_is_refused_and_the_field_named(fields):
    (name,) = fields
    with pytest.raises(SettingError, match=rf"^bank=bank.json .*the target's {name} is "):
        agree(made(**fields))


def test_the_same_weights_under_another_name_agree():
    agree(Provenance(task="t", target="other-name@cc", target_identity=TARGET | {"model": "x"}))


def test_a_newer_engine_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        agree(made(version="0.33.0"))
    assert "the target's version was '0.32.0', now '0.33.0'" in caplog.text


def test_a_bank_of_an_earlier_release_is_compared_by_its_short_digest():
    with pytest.raises(SettingError, match="target is 'QwQ-32B@bb' in the bank"):
        check(Provenance(task="t", target="QwQ-32B@bb"), made(), "bank.json", first_turns_only=True)
