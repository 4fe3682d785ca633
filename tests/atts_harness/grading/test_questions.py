"""What a question says about its answer's form."""

import pytest

from atts_harness.grading.equivalence import Gold, decide
from atts_harness.grading.questions import unit_asked


@pytest.mark.parametrize(
    "question",
    [
        "By what percent does the area grow?",
        "What percentage of the birds are red?",
        "Find the chance, expressed as a percentage.",
        "A bag holds 20% salt. How many percent are left?",
    ],
)
def test_a_question_for_per_cent_makes_the_sign_free(question):
    assert unit_asked(question, "15") == "%"
    gold = Gold("15", unit=unit_asked(question, "15"))
    assert decide(r"15\%", gold).right
    assert decide("15", gold).right
    assert not decide(r"16\%", gold).right


def test_other_questions_and_golds_say_nothing():
    assert unit_asked("The price fell by 20 percent. What is it now?", "15") is None
    assert unit_asked("What percent is it?", r"15\%") is None
    assert unit_asked("How many are there?", "15") is None
    assert not decide(r"15\%", Gold("15")).right
