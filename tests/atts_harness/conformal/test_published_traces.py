"""What the layer does on the published traces; the figures are in docs/guarantees.md."""

import random
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict

import pytest
from published_traces import BANK, needs_traces, scored_turns

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.conformal.pvalues import recorded_percentile
from atts_harness.records import SampleId

pytestmark = needs_traces
RATE = 0.4


def test_reference_reproduces_every_percentile_and_decision():
    options = CalibrationOptions(bank=str(BANK), coverage="marginal", rule="reference")
    policy = make_policy(options)
    for row in scored_turns():
        verdict = policy.decide(row.score, SampleId("m", row.question, row.repeat), row.turn, 0.5)
        assert recorded_percentile(verdict.p_value, verdict.bank_size) == row.percentile
        assert verdict.takeover == row.takeover
        assert verdict.takeover == (verdict.p_value <= verdict.threshold)
    assert len(scored_turns()) == 6065


def test_as_published_errors_of_turns_cancel():
    taken, scored = Counter(), Counter()
    for row in scored_turns():
        taken[row.turn] += row.takeover
        scored[row.turn] += 1
    rates = {turn: taken[turn] / scored[turn] for turn in scored}
    assert round(rates[0], 2) == 0.40
    assert round(rates[1], 2) == 0.30
    assert all(0.44 <= rates[turn] <= 0.50 for turn in range(3, 10))
    assert sum(taken.values()) / sum(scored.values()) == pytest.approx(0.413, abs=0.001)


def split_rates(coverage, seed):
    """Calibrate on half of the questions, judge the others; the realised rate by turn."""
    rng = random.Random(seed)
    questions = sorted({row.question for row in scored_turns()})
    half = set(rng.sample(questions, len(questions) // 2))
    rows = [row for row in scored_turns() if row.question in half]
    bank = bank_of(
        (row.question, row.turn, row.score) for row in rows if coverage == "turn" or row.turn == 0
    )
    policy = make_policy(CalibrationOptions(coverage=coverage), bank=bank)
    taken, scored = Counter(), Counter()
    for row in scored_turns():
        if row.question not in half:
            sample = SampleId("m", row.question, row.repeat)
            verdict = policy.decide(row.score, sample, row.turn, rng.random())
            taken[row.turn] += verdict.takeover
            scored[row.turn] += 1
    return [taken[turn] / scored[turn] for turn in range(10)]


def test_coverage_by_turn_holds_over_splits_of_the_questions():
    """24 splits here; benchmarks/conformal/splits.py takes 200, with the spread."""
    error = {}
    for coverage in ("marginal", "turn"):
        runs = [split_rates(coverage, seed) for seed in range(24)]
        error[coverage] = max(abs(sum(turn) / len(runs) - RATE) for turn in zip(*runs, strict=True))
    assert error["marginal"] > 0.07
    assert error["turn"] <= 0.03


def auc(positive, negative):
    """Chance that a positive ranks above a negative, ties half."""
    ranked = sorted(negative)
    wins = sum(bisect_left(ranked, x) + bisect_right(ranked, x) for x in positive)
    return wins / (2 * len(positive) * len(negative))


@pytest.mark.parametrize("seed", range(3))
def test_online_adaptive_holds_on_every_turn_and_keeps_the_ranking(seed):
    rng = random.Random(seed)
    policy = make_policy(CalibrationOptions(control="adaptive"))
    by_turn = defaultdict(list)
    for row in scored_turns():
        by_turn[row.turn].append(row.score)
    known = {turn: sorted(scores) for turn, scores in by_turn.items()}
    taken, agree, ranks = Counter(), 0, {True: [], False: []}
    for row in sorted(scored_turns()):  # question, turn, repeat
        sample = SampleId("m", row.question, row.repeat)
        takeover = policy.decide(row.score, sample, row.turn, rng.random()).takeover
        scores = known[row.turn]
        rank = bisect_left(scores, row.score) / len(scores)
        taken[row.turn] += takeover
        agree += takeover == (rank >= 1 - RATE)
        ranks[takeover].append(rank)
    errors = {
        turn: abs(taken[turn] / len(scores) - RATE)
        for turn, scores in known.items()
        if len(scores) >= 100
    }
    assert len(errors) == 13
    assert max(errors.values()) <= 0.02
    assert agree / len(scored_turns()) >= 0.9
    assert auc(ranks[True], ranks[False]) >= 0.95
