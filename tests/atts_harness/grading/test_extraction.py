"""What a text gives as its answer."""

import pytest

from atts_harness.errors import UnknownSettingError
from atts_harness.grading.extraction import (
    EXTRACTORS,
    boxed,
    check_extractor,
    extract,
    has_answer,
    last_expression,
    letter_of,
    regex,
)


def test_hand_checked_boxes(hand_checked):
    assert [(text, boxed(text)) for text, _ in hand_checked.EXTRACTED] == hand_checked.EXTRACTED


def test_hand_checked_letters(hand_checked):
    found = [(t, gold, boxed(t, "choice") == gold) for t, gold, _ in hand_checked.CHOICE]
    assert found == hand_checked.CHOICE


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{5} and yet the answer is 6.", "6"),
        ("**Answer:** 12", "12"),
        (r"The answer is $\frac{1}{2}$, I think, of 3.", r"\frac{1}{2}"),
        (r"we get \[ x = 3 \] and stop", "x = 3"),
        (r"we get \( 7 \) at (8", "7"),
        ("it costs $5 or 6", "6"),
        ("it is 1,250", "1,250"),
        ("thoughts of 9 </think> hence 4", "4"),
        (r"\boxed{9} </think> hence 4", "9"),
        ("no idea", None),
        ("", None),
    ],
)
def test_last_expression(text, answer):
    assert last_expression(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1"),
        ("\\boxed{1\n}", None),
        ("\\boxed{1\n \\boxed{2}", "2"),
        (r"\boxed{1", None),
        ("", None),
    ],
)
def test_the_published_rule_stops_at_the_first_brace(text, answer):
    assert regex(text) == answer


def test_the_published_rule_takes_a_choice_from_the_box_only():
    assert regex(r"\boxed{B}", "choice") == "B"
    assert regex("the answer is B", "choice") is None


def test_has_answer_is_what_boxed_finds():
    assert has_answer(r"\boxed{5}")
    assert not has_answer(r"\boxed{}")
    assert not has_answer(r"\boxed{\frac{1}{2}")
    assert not has_answer(r"\boxed{\text{integer}}")


def test_a_number_without_braces_may_go_on_in_the_next_turn():
    assert boxed(r"so \boxed 1") == "1"
    assert not has_answer(r"so \boxed 1")
    assert not has_answer(r"so \boxed12.")
    assert has_answer(r"so \boxed 12 and")
    assert has_answer(r"\boxed{5} or \boxed 1")


@pytest.mark.parametrize(
    "content",
    ["\\text{integer}", "\\text{number}", "\\text{numerical value}", "xxx", r"final\_answer"],
)
def test_a_placeholder_is_no_answer(content):
    assert boxed(f"\\boxed{{{content}}}") is None
    assert boxed(f"Use \\boxed{{{content}}}. So \\boxed7 it is") == "7"


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 15_000,
        "{" * 100_000,
        "}" * 100_000,
        "\\boxed{\\text{" * 8_000 + "}" * 16_000,
        "\\boxed{1}, " * 10_000,
        "\\boxed" + " " * 100_000 + "{1}",
        "the answer is " * 8_000,
        "answer" + " " * 100_000,
        "$" * 100_000,
        "\\[" * 50_000,
        "\\(" * 50_000,
        "1," * 50_000,
        "(A " * 30_000,
        "a</think>" * 11_000,
        "so" + " " * 100_000 + "?",
        "\\boxed " * 12_000,
        "\\boxed" + "1" * 100_000 + "x",
        "\\" * 100_000,
        "\\boxed{1}" + "a=" * 49_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_of_100_kb_is_too_much(text):
    # Quadratic time would be minutes here, and the suite's time limit would tell.
    for rule in EXTRACTORS.values():
        for kind in ("maths", "choice"):
            answer = rule(text, kind)
            assert answer is None or len(answer) <= len(text)


def test_names_are_checked():
    assert extract("boxed", r"\boxed{1}") == "1"
    assert check_extractor("llm") == "llm"
    with pytest.raises(UnknownSettingError, match=r"extractor: unknown extractor 'box'.*boxed"):
        extract("box", "")
    with pytest.raises(UnknownSettingError, match="boxed"):
        check_extractor("boxes")


def test_letter_of_takes_one_letter_only():
    assert letter_of(r"\text{(D)}") == "D"
    assert letter_of("E") is None
    assert letter_of("Because") is None
    assert letter_of("B and C") is None


def test_the_published_rule_gives_the_published_answers(shared):
    from atts_harness.results.find import saved_tasks
    from atts_harness.results.published import PUBLISHED_REGEX

    (questions,) = saved_tasks(shared / "traces" / "atts_math500_ct0.jsonl.gz")
    samples = [s for q in questions for s in q.samples.values()]
    assert len(samples) == 1600
    assert all(regex(s.text) == s.answers[PUBLISHED_REGEX] for s in samples)
