"""Exchangeable scores are taken over at the rate, in every coverage mode and for every n.

Small versions of benchmarks/conformal/exchangeable.py and clustered.py, which draw the figures.
"""

import math
import random

import pytest

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.records import SampleId

RATE = 0.4
COVERAGES = ("marginal", "turn", "conditional", "conditional+turn")


def within(hits, trials, rate, sds=4.5):
    """Monte-Carlo error; 4.5 standard deviations fail once in 150,000 correct checks."""
    return abs(hits / trials - rate) <= sds * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize("ties", ["random", "conservative"])
@pytest.mark.parametrize("coverage", COVERAGES)
def test_online_rate_for_every_bank_size(coverage, ties):
    """Scores of one stratum arrive in exchangeable order; the decision at bank size n is exact."""
    trials, rng = 1500, random.Random(f"{coverage}/{ties}")
    taken = [0] * 51
    for _ in range(trials):
        policy = make_policy(CalibrationOptions(coverage=coverage, ties=ties, control="fixed"))
        for n in range(51):
            verdict = policy.decide(
                rng.choice((rng.gauss(1, 1), 1.0)), SampleId("t", 7, n), 2, rng.random()
            )
            assert verdict.bank_size == n
            taken[n] += verdict.takeover
    if ties == "random":
        assert all(within(hits, trials, RATE) for hits in taken)
        assert within(sum(taken), 51 * trials, RATE)
    else:
        # A score behind all it equals: at most the rate, and nothing before 1/(n + 1) <= rate.
        bound = RATE + 4.5 * math.sqrt(RATE * (1 - RATE) / trials)
        assert all(hits / trials <= bound for hits in taken)
        assert taken[0] == taken[1] == 0 < taken[2]


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("repeats", [1, 2, 5, 16])
def test_presample_rate_on_first_turns(coverage, repeats):
    trials, rng, taken = 4000 // repeats, random.Random(f"{coverage}/{repeats}"), 0
    policy = make_policy(CalibrationOptions(coverage=coverage, calibration="presample"))
    for doc in range(trials):
        drafts = {n: rng.choice((rng.gauss(1, 1), 1.0)) for n in range(repeats)}
        policy.offer("t", doc, drafts)
        for n, s in drafts.items():
            taken += policy.decide(s, SampleId("t", doc, n), 0, rng.random()).takeover
    # Decisions of a problem depend on each other; presampling makes them vary less, not more.
    assert within(taken, trials * repeats, RATE)


UNEQUAL = (1, 2, 3, 5, 8, 14, 16)
"""First drafts of questions that do not all have the same number of them."""


def unequal(ties, trials, rng):
    """Share taken over by number of first drafts, of questions in one run."""
    options = CalibrationOptions(calibration="presample", coverage="conditional", ties=ties)
    policy, taken = make_policy(options), dict.fromkeys(UNEQUAL, 0)
    for doc in range(trials * len(UNEQUAL)):
        drafts = UNEQUAL[doc % len(UNEQUAL)]
        scores = {n: rng.gauss(doc, 1) for n in range(drafts)}
        policy.offer("t", doc, scores)
        for n, s in scores.items():
            verdict = policy.decide(s, SampleId("t", doc, n), 0, rng.random())
            taken[drafts] += verdict.takeover
    return {drafts: hits / (drafts * trials) for drafts, hits in taken.items()}


def test_conditional_coverage_of_unequal_questions_is_each_ones_own():
    """docs/guarantees.md: random ties give the rate to each, conservative ones floor(r m) / m."""
    trials, rng = 1500, random.Random(7)
    for drafts, share in unequal("random", trials, rng).items():
        # Decisions of a question depend on each other, so its trials are what counts.
        assert within(share * trials, trials, RATE), drafts
    exact = {1: 0, 2: 0, 3: 1 / 3, 5: 2 / 5, 8: 3 / 8, 14: 5 / 14, 16: 6 / 16}
    assert unequal("conservative", 20, rng) == pytest.approx(exact)
    assert all(share == math.floor(RATE * m + 1e-9) / m for m, share in exact.items())


@pytest.mark.parametrize("budget", [0, 1, 6, 15, 16])
def test_budget_is_met_exactly_on_first_turns(budget):
    """B of m: what the paper's set of the budgeted size means, draft by draft."""
    options = CalibrationOptions(
        budget=f"{budget}/16",
        calibration="presample",
        coverage="conditional",
        ties="conservative",
    )
    policy, rng = make_policy(options), random.Random(budget)
    for doc in range(50):
        drafts = {n: rng.random() for n in range(16)}
        policy.offer("t", doc, drafts)
        taken = [policy.decide(s, SampleId("t", doc, n), 0, 0.3) for n, s in drafts.items()]
        assert sum(v.takeover for v in taken) == budget
        assert {v.bank_size for v in taken} == {15}
        worst = sorted(drafts, key=lambda n: -drafts[n])[:budget]
        assert [n for n, v in enumerate(taken) if v.takeover] == sorted(worst)


@pytest.mark.parametrize("size", [1, 4, 30])
@pytest.mark.parametrize("coverage", COVERAGES)
def test_file_rate(coverage, size):
    """A fresh bank for each test score: the guarantee is over both."""
    trials, rng, taken = 800, random.Random(f"{coverage}/{size}"), 0
    for _ in range(trials):
        rows = [(3, turn, rng.gauss(1, 1)) for _ in range(size) for turn in (0, 1)]
        bank = bank_of(rows, evaluation_questions=True)
        policy = make_policy(CalibrationOptions(coverage=coverage), bank=bank)
        verdict = policy.decide(rng.gauss(1, 1), SampleId("t", 3, 0), 1, rng.random())
        taken += verdict.takeover
    assert within(taken, trials, RATE)


def clustered(rng, questions, repeats, share=0.63):
    """Scores with the published runs' share of variance between questions."""
    for question in range(questions):
        level = rng.gauss(0, math.sqrt(share))
        for _ in range(repeats):
            yield question, level + rng.gauss(0, math.sqrt(1 - share))


@pytest.mark.parametrize("questions", [1, 2, 5, 10])
def test_hierarchical_holds_where_plain_does_not(questions):
    """Few questions x 16: the plain p-value takes over too often at a small rate."""
    trials, rate, rng = 1500, 0.1, random.Random(questions)
    hits = {"pooled": 0, "hierarchical": 0}
    for _ in range(trials):
        *rows, (new, score) = clustered(rng, questions + 1, 16)
        rows = [(q, 0, s) for q, s in rows if q != new]
        for pvalue in hits:
            options = CalibrationOptions(rate=rate, pvalue=pvalue, coverage="marginal")
            policy = make_policy(options, bank=bank_of(rows))
            hits[pvalue] += policy.decide(score, SampleId("t", new, 0), 0, 0.5).takeover
    error = math.sqrt(rate * (1 - rate) / trials)
    assert hits["hierarchical"] / trials <= rate + 4 * error
    if questions <= 5:
        assert hits["pooled"] / trials > rate + 4 * error
