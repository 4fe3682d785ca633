"""Whether an answer equals the gold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.grading.equivalence import RIGHT, WRONG, Gold, Verdict, decide, fast
from atts_harness.grading.normalise import LONGEST, normalise, rational


def test_hand_checked_pairs(hand_checked):
    pairs = hand_checked.maths_pairs()
    assert len(pairs) + len(hand_checked.CHOICE) >= 150
    judged = [(answer, gold.text, decide(answer, gold)) for answer, gold, _ in pairs]
    assert judged == [(a, gold.text, Verdict(right)) for a, gold, right in pairs]


def test_text_and_algebra_agree_where_both_decide(hand_checked):
    decided = [(a, g, right, fast(a, g)) for a, g, right in hand_checked.maths_pairs()]
    by_text = [(a, g.text, v.right, right) for a, g, right, v in decided if v is not None]
    assert len(by_text) > 100
    assert all(found == right for _, _, found, right in by_text)


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
    assert decide("1" * (LONGEST + 1), Gold("1")) == Verdict(False, "too long")
    assert decide("x+" * 50_000, Gold("1")) == Verdict(False, "too long")
    with pytest.raises(ValueError, match="not compared"):
        normalise("1" * (LONGEST + 1))


def test_an_exception_of_the_algebra_system_is_counted_not_raised(monkeypatch):
    import atts_harness.grading.symbolic as symbolic

    def explode(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(symbolic, "leaf_by_algebra", explode)
    verdict = decide(r"\sqrt{8}", Gold(r"2\sqrt{2}"))
    assert verdict == Verdict(False, "exception: ZeroDivisionError")


@pytest.mark.parametrize(
    "answer",
    ["(" * 900, "{" * 900, r"\frac{" * 300, "1," * 900, r"\{" * 600, "[1," * 400, "=" * 1900],
    ids=lambda text: text[:8],
)
def test_nonsense_gets_a_verdict(hasty, answer):
    verdicts = hasty.grade([(answer, Gold("7")), (answer, Gold("(1,2)"))])
    assert [verdict.right for verdict in verdicts] == [False, False]


def test_rational_reads_what_is_written():
    assert rational("1,234")[0] == 1234
    assert rational("(2,345)") is None
    assert rational("17%") == (17, True)
    assert rational(r"1\frac{9}{4}") is None
    assert rational("1/0") is None
    assert rational("-") is None
    assert rational("x") is None
