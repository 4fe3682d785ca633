import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.conformal.control import Adaptive, tolerated
from atts_harness.records import SampleId


@settings(deadline=None)
@given(
    st.floats(0.01, 0.99), st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=2000)
)
def test_error_is_bounded_for_every_sequence(rate, p_values):
    control, taken = Adaptive(rate), 0
    for n, p in enumerate(p_values, 1):
        takeover = p <= control.threshold
        control.update(takeover)
        taken += takeover
        assert abs(taken - rate * n) <= 4 * tolerated(n) + 1


@pytest.mark.parametrize("rate", [0.05, 0.4, 0.8])
def test_error_is_bounded_for_an_adversary(rate):
    """Whatever the threshold is, the next p-value is on its wrong side, as long as it can be."""
    control, taken = Adaptive(rate), 0
    for n in range(1, 20_001):
        behind = taken < rate * n
        p = min(1.0, control.threshold + 1e-9) if behind else max(1e-12, control.threshold)
        takeover = p <= control.threshold
        control.update(takeover)
        taken += takeover
        assert abs(taken / n - rate) <= (4 * tolerated(n) + 1) / n
    assert abs(taken / n - rate) < 0.03


def test_long_run_bound_goes_to_zero():
    assert (4 * tolerated(10**8) + 1) / 10**8 < 0.001


def test_threshold_leans_against_the_debt_and_rests_within_tolerance():
    control = Adaptive(0.4)
    thresholds = [control.threshold]
    for _ in range(60):
        control.update(takeover=False)
        thresholds.append(control.threshold)
    assert thresholds[0] == pytest.approx(0.4)
    assert thresholds[3] == pytest.approx(0.4, abs=0.02)  # 1.2 decisions behind
    assert thresholds == sorted(thresholds)
    assert thresholds[-1] == 1.0
    control = Adaptive(0.4)
    for _ in range(60):
        control.update(takeover=True)
    assert control.threshold == 0.0


def shifted_run(control, seed, count=600, shift=0.5):
    """A bank of the easy half; then the questions get harder."""
    rng = random.Random(seed)
    bank = bank_of([(q, 0, rng.gauss(1, 1)) for q in range(200)])
    policy = make_policy(CalibrationOptions(control=control, coverage="marginal"), bank=bank)
    return [
        policy.decide(
            rng.gauss(1 + shift * (n >= count // 2), 1), SampleId("t", n, 0), 0, rng.random()
        ).takeover
        for n in range(count)
    ]


def test_adaptive_follows_a_change_of_difficulty():
    """Small version of benchmarks/conformal/drift.py."""
    late = {}
    for control in ("fixed", "adaptive"):
        runs = [shifted_run(control, seed) for seed in range(30)]
        late[control] = sum(sum(run[400:]) for run in runs) / (30 * 200)
    assert late["fixed"] > 0.5
    assert late["adaptive"] == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("control", ["fixed", "adaptive"])
def test_rate_of_one_in_twenty_holds_on_every_one_of_120_turns(control):
    """Scores that drift with the turn; coverage by turn, online."""
    rng, rate, samples = random.Random(control), 0.05, 600
    policy = make_policy(CalibrationOptions(rate=rate, control=control))
    taken = [0] * 120
    for doc in range(samples):
        for turn in range(120):
            s = 0.5 + math.sin(turn / 9) + turn / 40 + rng.expovariate(1 + turn % 5)
            taken[turn] += policy.decide(s, SampleId("t", doc, 0), turn, rng.random()).takeover
    error = math.sqrt(rate * (1 - rate) / samples)
    allowed = 4.2 * error if control == "fixed" else (2 * tolerated(samples) + 1) / samples
    assert max(abs(hits / samples - rate) for hits in taken) <= allowed
    assert abs(sum(taken) / (120 * samples) - rate) <= 4 * error / math.sqrt(120)
