"""From texts to a question's figures."""

import itertools

import pytest

from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import (
    Sampled,
    grade_question,
    metric_names,
    question_metrics,
)

GOLD = Gold("12")


def box(answer):
    return Sampled(rf"so \boxed{{{answer}}}")


def figures(samples, gold=GOLD, extractor="boxed"):
    grades = grade_question(samples, gold, extractor)
    return question_metrics(grades, gold, extractor)


def test_equivalent_answers_vote_together_and_ties_are_split():
    # Right twice; wrong: one candidate with two spellings, so the full vote is a tie.
    found = figures([box("12"), box("012"), box("1/2"), box("0.5")])
    assert found["pass@1"] == 0.5
    assert found["maj@4"] == 0.5
    assert found["oracle_any@4"] == 1.0
    # A third spelling outvotes the right answer.
    assert figures([box("12"), box("12"), box("1/2"), box("0.5"), box(r"\frac12")])["maj@5"] == 0.0


def test_samples_without_an_answer_do_not_vote():
    found = figures([box("12"), Sampled("no"), Sampled("no"), Sampled(r"\boxed{1")])
    assert found["maj@4"] == 1.0
    assert found["pass@1"] == 0.25
    assert found["invalid"] == 0.75


def test_maj_equals_the_vote_of_every_subset():
    answers = ["12", "12", "7", "7", "7", "x", None, "1/2", "0.5"]
    samples = [Sampled("no") if a is None else box(a) for a in answers]
    names = [{"1/2": "0.5"}.get(a, a) for a in answers]

    def credit(subset):
        votes = {a: subset.count(a) for a in set(subset) - {None}}
        top = [a for a, n in votes.items() if n == max(votes.values())]
        return ("12" in top) / len(top) if top else 0.0

    found = figures(samples)
    for k in (4, 8, 9):
        credits = [credit(s) for s in itertools.combinations(names, k)]
        assert found[f"maj@{k}"] == pytest.approx(sum(credits) / len(credits))


def test_failed_truncated_and_invalid_are_counted_apart():
    found = figures(
        [
            Sampled(r"\boxed{12}", truncated=False, failed=""),
            Sampled("cut off", truncated=True, failed=""),
            Sampled(r"\boxed{12}", truncated=False, failed="timeout"),
            Sampled("no answer", truncated=False, failed=""),
        ]
    )
    assert found["pass@1"] == 0.25
    assert found["failed"] == 0.25
    assert found["truncated"] == 0.25
    assert found["invalid"] == 0.5


def test_what_nobody_recorded_is_left_out_and_not_zero():
    found = figures([box("12"), box("13")])
    assert "truncated" not in found
    assert "failed" not in found


def test_grading_that_could_not_tell_is_counted():
    found = figures([box("1" * 3000), box("12")])
    assert found["grading_error"] == 0.5
    assert found["pass@1"] == 0.5
    assert found["invalid"] == 0.0


def test_what_no_rule_covers_is_undecided_and_no_error():
    (grade, *_) = grade_question([box(r"12 \text{ perhaps}"), box("13")], GOLD)
    assert (grade.right, grade.error) == (False, None)
    assert grade.undecided is not None
    found = figures([box(r"12 \mystery"), box("13")])
    assert (found["undecided"], found["grading_error"], found["pass@1"]) == (0.5, 0.0, 0.0)


def test_extractors_stand_side_by_side_and_disagreement_is_mathematical():
    samples = [
        Sampled(r"\boxed{12}", {"llm": "12.0"}),
        Sampled(r"\boxed{\frac{24}{2}}", {"llm": "12"}),
        Sampled("Answer: 12", {"llm": None}),
    ]
    grades = grade_question(samples, GOLD)
    assert grades[1].answers == {
        "boxed": r"\frac{24}{2}",
        "last_expression": r"\frac{24}{2}",
        "regex": r"\frac{24",
        "llm": "12",
    }
    found = question_metrics(grades, GOLD)
    assert found["pass@1"] == pytest.approx(2 / 3)
    assert found["disagree_llm"] == 0.0
    # The third sample has no box: of it nobody can say whether two answers agree.
    assert found["disagree_last_expression"] == 0.0
    assert found["disagree_regex"] == 0.5
    assert figures(samples, extractor="last_expression")["pass@1"] == 1.0
    assert figures(samples, extractor="llm")["pass@1"] == pytest.approx(2 / 3)


def test_only_samples_with_two_answers_can_disagree():
    failed = Sampled(r"\boxed{12} Answer: 5", failed="timeout")
    found = figures([failed, Sampled("Answer: 5"), Sampled("nothing")])
    assert not [name for name in found if name.startswith("disagree")]
    found = figures([failed, Sampled(r"\boxed{12}", {"llm": "5"}), Sampled(r"\boxed{12}")])
    assert found["disagree_llm"] == 1.0


def test_a_model_extraction_that_was_never_made_is_no_silent_wrong():
    found = figures([box("12")], extractor="llm")
    assert found["grading_error"] == 1.0
    assert found["invalid"] == 0.0


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        (1, {"pass@1"}),
        (2, {"pass@1", "pass@2", "oracle_any@2"}),
        (3, {"pass@1", "pass@2", "maj@3", "oracle_any@3"}),
        (
            16,
            {
                *(f"pass@{k}" for k in (1, 2, 4, 8, 16)),
                *(f"maj@{k}" for k in (4, 8, 16)),
                "oracle_any@16",
            },
        ),
    ],
)
def test_figures_fit_the_number_of_repeats(repeats, expected):
    found = figures([box("12")] * repeats)
    names = metric_names(repeats)
    assert {name for name, better in names.items() if better} == expected
    assert {name for name in found if names[name]} == expected
    assert found.keys() <= names.keys()


def test_choice():
    gold = Gold("C", kind="choice")
    found = figures([box("C"), Sampled("The answer is (C)."), box("A"), Sampled("a cat")], gold)
    assert found["pass@1"] == 0.5
    assert found["invalid"] == 0.25


def voter(answer, weight=1.0, absent=""):
    text = "no" if answer is None else rf"so \boxed{{{answer}}}"
    return Sampled(text, weight=weight, absent=absent)


def test_a_vote_counts_weights_and_pass_1_is_of_what_was_drawn():
    found = figures(
        [
            voter("12", 1.0),
            voter("7", 0.75),
            voter("7.0", 0.75),
            voter(None),
            voter("12", 0.0),  # filtered out: drawn, and no vote
            voter("12", 0.0, "stopped"),
            voter(None, 0.0, "not-drawn"),
        ]
    )
    assert (found["vote"], found["drawn"], found["stopped"]) == (0.0, 6.0, 1.0)
    assert found["pass@1"] == 2 / 5
    assert found["invalid"] == 1 / 5
    assert not [name for name in found if name.startswith(("maj", "oracle", "pass@2"))]


def test_votes_that_tie_are_split_and_nobodys_vote_is_wrong():
    assert figures([voter("12"), voter("7")])["vote"] == 0.5
    assert figures([voter("12"), voter("7"), voter("8"), voter("8", 0.5)])["vote"] == 0.0
    assert figures([voter("12", 0.0), voter(None)])["vote"] == 0.0


def test_a_weighted_vote_equals_counting_by_hand():
    weights = {"12": [0.25, 0.5], "7": [0.75], "1/2": [0.5], "0.5": [0.125, 0.125]}
    samples = [voter(answer, w) for answer, own in weights.items() for w in own]
    totals = {"12": 0.75, "7": 0.75, "half": 0.75}
    assert len({*totals.values()}) == 1
    assert figures(samples)["vote"] == pytest.approx(1 / 3)
