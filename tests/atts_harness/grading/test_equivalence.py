"""Whether an answer equals the gold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.grading.equivalence import (
    RIGHT,
    WRONG,
    Gold,
    GradingVerdict,
    decide,
    fast,
    unreadable,
)
from atts_harness.grading.reading.tokens import LONGEST


def test_hand_checked_pairs(hand_checked):
    pairs = hand_checked.maths_pairs()
    assert len(pairs) + len(hand_checked.CHOICE) >= 150
    judged = [(answer, gold.text, decide(answer, gold).right) for answer, gold, _ in pairs]
    assert judged == [(a, gold.text, right) for a, gold, right in pairs]


def test_almost_nothing_needs_computer_algebra(hand_checked):
    pairs = [(answer, gold) for answer, gold, _ in hand_checked.maths_pairs()]
    assert [pair for pair in pairs if fast(*pair) is None] == []


def test_choice():
    gold = Gold("B", kind="choice")
    assert decide("B", gold) == RIGHT
    assert decide(r"\text{(B)}", gold) == RIGHT
    assert decide("C", gold) == WRONG
    assert decide("42", gold) == WRONG


@settings(deadline=None, max_examples=60)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**4))
def test_a_rational_number_equals_its_spellings_and_not_its_neighbour(top, bottom):
    gold = Gold(rf"\frac{{{top}}}{{{bottom}}}")
    assert fast(f"{top}/{bottom}", gold) == RIGHT
    assert fast(rf"$\dfrac{{{3 * top}}}{{{3 * bottom}}}$", gold) == RIGHT
    assert fast(rf"x = {top}/{bottom}", gold) == RIGHT
    assert fast(f"{top + 1}/{bottom}", gold) == WRONG
    assert fast(f"{top}/{bottom + 1}", gold) == (RIGHT if top == 0 else WRONG)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
def test_sets_have_no_order_and_tuples_have(values, rng):
    shuffled = list(values)
    rng.shuffle(shuffled)
    given_set = r"\{" + ", ".join(map(str, shuffled)) + r"\}"
    given_tuple = "(" + ", ".join(map(str, shuffled)) + ")"
    assert fast(given_set, Gold(r"\{" + ",".join(map(str, values)) + r"\}")) == RIGHT
    wanted_tuple = Gold("(" + ",".join(map(str, values)) + ")")
    assert fast(given_tuple, wanted_tuple) == (RIGHT if shuffled == values else WRONG)
    assert fast(given_set, Gold(r"\{" + ",".join(map(str, values[1:])) + r"\}")) == WRONG


def test_an_answer_that_is_too_long_is_an_error_of_grading():
    assert decide("1" * (LONGEST + 1), Gold("1")) == GradingVerdict(False, "too long")
    assert decide("x+" * 50_000, Gold("1")) == GradingVerdict(False, "too long")


def test_an_exception_of_the_algebra_system_is_counted_not_raised(monkeypatch):
    import atts_harness.grading.algebra.symbolic as symbolic

    def explode(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(symbolic.Sympy, "same", explode)
    verdict = decide(r"\int_0^1 x\,dx", Gold(r"\frac12"))
    assert verdict == GradingVerdict(False, "exception: ZeroDivisionError")


@pytest.mark.parametrize(
    "answer",
    ["(" * 900, "{" * 900, r"\frac{" * 300, "1," * 900, r"\{" * 600, "[1," * 400, "=" * 1900],
    ids=lambda text: text[:8],
)
def test_nonsense_gets_a_verdict(hasty, answer):
    verdicts = hasty.grade([(answer, Gold("7")), (answer, Gold("(1,2)"))])
    assert [verdict.right for verdict in verdicts] == [False, False]


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        (Gold(r"\frac{1}{"), "it ends too early"),
        (Gold(""), "it is empty"),
        (Gold("5 +"), "it ends too early"),
        (Gold(r"\mystery{5}"), r"\mystery is not covered"),
        (Gold("E", kind="choice"), "it is not a letter from A to D"),
    ],
    ids=lambda value: getattr(value, "text", ""),
)
def test_a_gold_that_cannot_be_read_says_why(gold, reason):
    assert unreadable(gold) == reason


def test_golds_that_can_be_read():
    for text in ("5", r"\frac{1}{2}", "x=5", r"\angle ABC = 30^\circ", r"\text{Tuesday}", "(2,5]"):
        assert unreadable(Gold(text)) is None
    assert unreadable(Gold("B", kind="choice")) is None
