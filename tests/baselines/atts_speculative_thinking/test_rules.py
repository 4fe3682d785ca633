"""Keywords, and where the rules come from."""

import logging

import pytest
from atts_speculative_thinking.options import SpeculativeThinkingOptions, resolve
from atts_speculative_thinking.rules import Keywords, Rules, sentiment, verifies

from atts_harness.errors import SettingError
from atts_harness.settings import struct_from

WORDS = Keywords()

# The fields of a published file, with values of our own.
PUBLISHED = """
mode: vllm
target_model_name: big/model
speculative_model_name: small/model
target_model_gpu: 2
speculative_model_gpu: 1
TRIGGER_TOKENS: ["\\n\\n"]
TARGET_VALIDATION_KEYWORDS:
  verify: [verify, recap]
  negative: [wait]
  positive: ["yes"]
help_think_word: null
help_recap_words: "Let me look again:"
choose_large: true
not_reasoning: true
max_target_tokens: 21
begin: true
begin_token_num: 90
original_recap_token_num: 120
recap_after_negative_num: 12
add_each_neg: 4
max_negative_num: 28
add_each_recap: 20
max_recap_token_num: 180
time_out: -1
"""


def options(**given):
    return struct_from(SpeculativeThinkingOptions, given, "model_args")


def rules(**given):
    return resolve(options(**given))


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("So 22 - 8 is 14.", 0),
        ("Yes, that is right.", 1),
        ("Yeah, I am confident. But wait", 1),
        ("Wait, what?", -1),
        ("Let me verify this.", -1),
        ("Yes. But wait", -1),
        ("yes yes wait wait", -1),
        ("HOLD ON", -1),
        ("await the eyes", -1),
        ("another final answer, yes", 1),
        ("checking the eyes and yes", 1),
        ("think again", -1),
    ],
)
def test_sentiment_counts_substrings_and_ties_reflect(text, sign):
    assert sentiment(text, WORDS) == sign


def test_a_verification_is_announced_by_any_verify_word():
    assert verifies("I am double-Checking", WORDS)
    assert verifies("To RECAP:", WORDS)
    assert not verifies("Wait, alternatively", WORDS)


def test_the_published_values_are_the_defaults():
    assert rules() == Rules()
    assert (Rules().original_recap_token_num, Rules().max_recap_token_num) == (125, 200)
    assert (Rules().recap_after_negative_num, Rules().max_negative_num) == (15, 30)


def test_a_published_file_loads_as_it_is(tmp_path, caplog):
    path = tmp_path / "pair.yml"
    path.write_text(PUBLISHED)
    with caplog.at_level(logging.INFO):
        found = rules(config=str(path))
    assert found == Rules(
        TARGET_VALIDATION_KEYWORDS=Keywords(
            verify=("verify", "recap"), negative=("wait",), positive=("yes",)
        ),
        help_recap_words="Let me look again:",
        not_reasoning=True,
        max_target_tokens=21,
        begin=True,
        begin_token_num=90,
        original_recap_token_num=120,
        recap_after_negative_num=12,
        add_each_neg=4,
        max_negative_num=28,
        add_each_recap=20,
        max_recap_token_num=180,
    )
    assert "target_model_name=big/model is not used; the run's own setting is `target`" in (
        caplog.text
    )


def test_what_is_given_wins_over_the_file_even_if_it_is_the_default(tmp_path):
    path = tmp_path / "pair.yml"
    path.write_text("max_target_tokens: 7\nbegin: true\n")
    found = rules(config=str(path), begin="false", begin_token_num="5")
    assert (found.max_target_tokens, found.begin, found.begin_token_num) == (7, False, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("max_target_token: 7", "did you mean max_target_tokens"),
        ("max_target_tokens: many", "max_target_tokens: expected `int`"),
        ("begin_token_num: 0", "begin_token_num: expected `int` >= 1"),
        ("TARGET_VALIDATION_KEYWORDS: {verfy: [a]}", "unknown field `verfy`"),
        ("- a\n- b", "holds no fields"),
        ("a: [", "is not YAML"),
        ("speculative_model_name: null", "strategy=target-only"),
        ("original_recap_token_num: 300", "exceeds max_recap_token_num"),
    ],
)
def test_a_wrong_file_is_refused_with_the_remedy(tmp_path, content, message):
    path = tmp_path / "pair.yml"
    path.write_text(content)
    with pytest.raises(SettingError, match=message) as raised:
        rules(config=str(path))
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"config: .*gone\.yml: no such file"):
        rules(config=str(tmp_path / "gone.yml"))


@pytest.mark.parametrize(
    "given",
    [
        {"max_target_tokens": 0},
        {"choose_large": "perhaps"},
        {"threshold": 7},
        {"recap_after_negative_num": 40},
    ],
)
def test_bad_options_are_named(given):
    with pytest.raises(SettingError, match=next(iter(given))):
        rules(**given)
