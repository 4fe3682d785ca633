"""The closed form against the simulator, and what it says of break-even."""

import math
import random

import pytest

from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.breakeven import (
    Course,
    break_even_rate,
    break_even_speed,
    prices,
    relative_cost,
)
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.deployment import place, roofline
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.running import simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace

SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
MIDDLE = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
LARGE, LARGEST = "Qwen/QwQ-32B", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"
TURNS = 8


def even_trace(draft, takeover, samples=3):
    """Turns of one length, so that means say all; scores at random."""
    rng = random.Random(3)
    docs = {
        doc: (
            SampleTrace(
                doc, 0, tuple(TurnTrace(draft, rng.random(), takeover) for _ in range(TURNS))
            ),
        )
        for doc in range(samples)
    }
    return RunTrace("even", docs, {}, chunk=max(draft, takeover))


def simulated(pair, gpu, devices, lengths, strategy, cached=True, **options):
    """Seconds of a sample alone on its engines, the course of its turns, and its cost models."""
    models = dict(zip(("draft", "target"), pair, strict=True))
    draft, takeover = lengths
    settings = parse_settings(
        {
            "strategy": strategy,
            "backend": "simulated",
            "live_samples": 1,
            "metrics_interval": 0,
            "max_gen_toks": 30000,
            "turns": TURNS,
            "draft_tokens": draft,
            "target_tokens": takeover,
            **models,
            **options,
        }
    )
    deployment = place({role: shape_of(name) for role, name in models.items()}, gpu, devices)
    limits = EngineLimits(kv_tokens=0, scores_read_cache=cached)
    made = simulate(settings, even_trace(draft, takeover), deployment, repeats=1, limits=limits)
    decisions = [decision for record in made.records for decision in record.decisions]
    course = Course(
        turns=TURNS,
        rate=sum(one.takeover for one in decisions) / len(decisions),
        draft=draft,
        takeover=takeover,
        replaces=options.get("on_reject") == "replace",
        scored=strategy == "atts",
        cached=cached,
        ahead=options.get("draft_ahead", False),
    )
    costs = {role: roofline(one) for role, one in deployment.placements.items()}
    return made.makespan / len(made.records), course, costs


@pytest.mark.parametrize("gpu", ["h100", "a100"])
@pytest.mark.parametrize(
    ("pair", "devices"),
    [
        ((SMALL, LARGE), {"draft": 1, "target": 2}),
        ((MIDDLE, LARGE), {"draft": 1, "target": 2}),
        ((SMALL, LARGEST), {"draft": 1, "target": 4}),
    ],
    ids=["1.5b-32b", "8b-32b", "1.5b-70b"],
)
@pytest.mark.parametrize(
    ("lengths", "options"),
    [
        ((500, 500), {"rate": 0.4}),
        ((500, 500), {"rate": 0.4, "cached": False}),
        ((200, 400), {"rate": 0.7, "on_reject": "replace"}),
        ((500, 125), {"rate": 0.2, "on_reject": "replace", "cached": False}),
        ((500, 250), {"rate": 0.4, "draft_ahead": True}),
        ((200, 200), {"rate": 0.3, "draft_ahead": True, "cached": False}),
    ],
)
def test_the_closed_form_is_within_5_percent_where_queues_are_empty(
    pair, devices, gpu, lengths, options
):
    """Scores that read the cache or not, both places of a takeover, and drafts ahead."""
    seconds, course, costs = simulated(pair, gpu_of(gpu), devices, lengths, "atts", **options)
    assert 0 < course.rate < 1
    assert prices(course, costs).sample == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("place_of", ["continue", "replace"])
@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_a_takeover_without_scores_reads_the_drafts_that_the_target_has_not_seen(place_of, rate):
    devices = {"draft": 1, "target": 2}
    seconds, course, costs = simulated(
        *((MIDDLE, LARGE), gpu_of("h100"), devices, (500, 500), "random-takeover"),
        rate=rate,
        on_reject=place_of,
    )
    made = prices(course, costs)
    assert made.score == 0
    assert made.sample == pytest.approx(seconds, rel=0.05)


def test_the_target_alone_costs_what_the_simulator_says():
    devices = {"draft": 1, "target": 2}
    _, course, costs = simulated(
        *((MIDDLE, LARGE), gpu_of("h100"), devices, (500, 500), "atts"), rate=0.4
    )
    settings = parse_settings(
        {
            "strategy": "target-only",
            "backend": "simulated",
            "target": LARGE,
            "max_gen_toks": 30000,
            "live_samples": 1,
            "metrics_interval": 0,
        }
    )
    turns = tuple(TurnTrace(500, 0.1, round(course.turn_length - 500)) for _ in range(TURNS))
    trace = RunTrace("even", {0: (SampleTrace(0, 0, turns),)})
    deployment = place({"target": shape_of(LARGE)}, gpu_of("h100"), {"target": 2})
    made = simulate(settings, trace, deployment, repeats=1)
    assert prices(course, costs).alone == pytest.approx(made.makespan, rel=0.05)


def test_the_text_before_a_turn_is_a_mean_over_turns_not_over_samples():
    """A sample of one turn and one of nine: the turns have 0, and 0 to 8 turns before them."""
    course = Course(turns=5, deviation=4, rate=0.0, draft=100, prompt=10)
    assert course.context == pytest.approx(10 + 100 * sum([0, *range(9)]) / 10)


def test_prices_and_the_rule_say_the_same():
    """`relative` is the rule at the prices' own rho and sigma, but for reading before takeovers."""
    devices = {"draft": 1, "target": 2}
    models = {"draft": shape_of(MIDDLE), "target": shape_of(LARGE)}
    deployment = place(models, gpu_of("h100"), devices)
    costs = {role: roofline(one) for role, one in deployment.placements.items()}
    for replaces in (False, True):
        course = Course(turns=10, rate=0.3, replaces=replaces, longer=1.1)
        made = prices(course, costs)
        said = relative_cost(
            *(made.speed, made.sigma, course.rate),
            acceptance=course.acceptance,
            longer=course.longer,
        )
        assert made.relative == pytest.approx(said, rel=0.02)


@pytest.mark.parametrize("longer", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("takeover", [0.25, 1.0, 2.0])
def test_it_breaks_even_where_it_says(longer, replaces, takeover):
    for rate in (0.05, 0.3, 0.6):
        a = 1 - rate if replaces else 1.0
        given = {"takeover": takeover, "acceptance": a, "longer": longer}
        speed = break_even_speed(0.1, rate, **given)
        if math.isinf(speed):
            assert relative_cost(1e12, 0.1, rate, **given) >= 1
        else:
            assert relative_cost(speed, 0.1, rate, **given) == pytest.approx(1.0)
            assert relative_cost(1.1 * speed, 0.1, rate, **given) < 1


@pytest.mark.parametrize("longer", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("speed", [1.05, 1.5, 4.0, 20.0])
def test_the_largest_rate_that_pays_is_the_largest(longer, replaces, speed):
    def pays(rate):
        a = 1 - rate if replaces else 1.0
        return relative_cost(speed, 0.1, rate, acceptance=a, longer=longer) < 1

    largest = break_even_rate(speed, 0.1, replaces=replaces, longer=longer)
    for rate in (n / 200 for n in range(1, 200)):
        if rate > largest + 1e-9:
            assert not pays(rate)
    if 0 < largest < 1:
        assert pays(largest - 1e-6)
    assert pays(1.0 - 1e-9) == (largest == 1.0)


def test_scores_cost_more_the_more_sequences_share_a_step():
    """A step's reading of weights is shared, its arithmetic is not: why a full engine differs."""
    devices = {"draft": 1, "target": 2}
    models = {"draft": shape_of(MIDDLE), "target": shape_of(LARGE)}
    deployment = place(models, gpu_of("h100"), devices)
    costs = {role: roofline(one) for role, one in deployment.placements.items()}
    sigmas = [
        prices(Course(10, 0.4, cached=cached), costs, batch=batch, devices=devices).sigma
        for cached in (True, False)
        for batch in (1, 16, 64)
    ]
    assert sigmas == sorted(sigmas[:3]) + sorted(sigmas[3:])
    cached, uncached = sigmas[:3], sigmas[3:]
    assert uncached[2] > 0.5 > cached[2] > 5 * cached[0]
