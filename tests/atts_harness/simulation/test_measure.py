"""Measuring an engine: what is fitted is what the engine costs."""

import dataclasses
import random

import pytest

from atts_harness.errors import SettingError
from atts_harness.records import CallKey, SampleId
from atts_harness.running.client import CURRENT_CALL
from atts_harness.simulation.backend import SimulatedBackend
from atts_harness.simulation.behaviour import WrittenText
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costs import Measured
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.measure import (
    Round,
    features,
    fit_rounds,
    rounds_for,
    time_rounds,
)
from atts_harness.simulation.words import WordTokenizer

LIMITS = EngineLimits(kv_tokens=1 << 30)
REAL = Measured(
    step=8e-3,
    sequence=4e-4,
    prompt_token=6e-5,
    pair=2e-8,
    row=3e-5,
    context=1e-6,
    prompt=2e-3,
    batch=4e-3,
)


class Fills:
    """Writes words up to the limit; every so many calls it closes the turn early."""

    def __init__(self, tokenizer, closes=1 << 30):
        self.closes = closes
        self.words = tokenizer.encode(" w001" * 400)
        self.end = min(tokenizer.eos_ids)
        self.calls = 0

    def write(self, call, request):
        self.calls += 1
        if self.calls % self.closes == 0 and request.max_tokens > 4:
            return WrittenText((*self.words[:3], self.end), "eos")
        return WrittenText(self.words[: request.max_tokens], "length")

    def score(self, call, request):
        return (-0.5,) * (len(request.ids) - request.start)


def measured(rounds, *, latency=0.003, longest=1e9, cost=REAL, limits=LIMITS):
    async def work():
        tokenizer = WordTokenizer()
        engine = SimulatedEngine(cost, limits)
        backend = SimulatedBackend(
            *(engine, Fills(tokenizer), tokenizer), model="m", max_length=9000, latency=latency
        )
        CURRENT_CALL.set(CallKey(SampleId("measure", 0, 0), "probe", "draft", 0))
        return await time_rounds(backend, rounds, longest=longest)

    (done, seconds), _ = run_simulated(work())
    return fit_rounds(done, seconds, mixed_steps=limits.mixed_steps)


def test_a_round_of_one_request_by_hand():
    # Its prompt is one step and writes the first token; four more read 11, 12, 13 and 14 tokens.
    decoded = 11 + 12 + 13 + 14
    writes = features(Round(1, 10, writes=5), LIMITS)
    assert writes == [5, 5, 10, 55 + decoded, 5, 10 + decoded, 1, 1]
    # A score needs the logits of every token. The first is computed while the others come.
    assert features(Round(3, 10), LIMITS) == [2, 3, 30, 3 * 55, 30, 30, 3, 2]


@pytest.mark.parametrize("mixed", [True, False])
def test_costs_are_recovered(mixed):
    limits = dataclasses.replace(LIMITS, mixed_steps=mixed)
    fitted = measured(rounds_for(9000), limits=limits)
    expected = dataclasses.asdict(REAL)
    assert dataclasses.asdict(fitted.cost) == pytest.approx(expected, rel=0.05)
    assert fitted.error < 0.02


def test_noise_invents_no_further_costs():
    plain = dataclasses.replace(REAL, context=0.0, prompt=0.0, batch=0.0)
    quick = rounds_for(2048, 8)[:20]
    seconds = measured(quick, cost=plain).seconds
    rng = random.Random(5)
    noisy = [one * rng.uniform(0.85, 1.25) for one in seconds]
    fitted = fit_rounds(quick, noisy).cost
    assert (fitted.context, fitted.prompt, fitted.batch) == (0, 0, 0)
    assert fitted.step > 0


def test_time_is_bounded_and_too_few_rounds_are_refused():
    few = measured(rounds_for(9000), longest=3.0)
    assert 8 <= len(few.rounds) < len(rounds_for(9000))
    with pytest.raises(SettingError, match="8 are needed"):
        measured(rounds_for(9000), longest=0.1)


def test_costs_are_never_negative():
    rounds = [Round(n, 64, writes=4) for n in range(1, 10)]
    found = fit_rounds(rounds, [1.0] * 9)  # as if more requests took no longer
    values = [getattr(found.cost, name) for name in found.cost.__dataclass_fields__]
    assert min(*values, found.latency) >= 0


def test_a_window_that_is_too_small_is_one_line():
    with pytest.raises(SettingError, match="too small to measure with"):
        rounds_for(100)
    assert all(one.context + one.writes < 600 for one in rounds_for(600))
    assert all(one.writes for one in rounds_for(600, scores=False))


def test_a_text_that_closed_early_is_gone_on_with():
    tokenizer = WordTokenizer()
    engine = SimulatedEngine(REAL, LIMITS)

    async def work():
        fills = Fills(tokenizer, closes=2)
        backend = SimulatedBackend(engine, fills, tokenizer, model="m", max_length=9000)
        CURRENT_CALL.set(CallKey(SampleId("measure", 0, 0), "probe", "draft", 0))
        await time_rounds(backend, [Round(1, 32, writes=24)])

    run_simulated(work())
    assert engine.figures.written_tokens == 2 * 24


def test_texts_are_plain_and_new_each_time():
    asked = []

    class Watched(SimulatedBackend):
        async def generate(self, request):
            asked.append(request.ids)
            return await super().generate(request)

    async def work():
        tokenizer = WordTokenizer()
        engine = SimulatedEngine(REAL, LIMITS)
        backend = Watched(engine, Fills(tokenizer), tokenizer, model="m", max_length=9000)
        CURRENT_CALL.set(CallKey(SampleId("measure", 0, 0), "probe", "draft", 0))
        await time_rounds(backend, [Round(1, 32, writes=2)] * 8)

    run_simulated(work())
    special = {*WordTokenizer().named.values(), *WordTokenizer().eos_ids}
    assert not special & {id_ for ids in asked for id_ in ids}
    # One more than the rounds: the first of a kind is sent once before it is timed.
    assert len({ids[:8] for ids in asked}) == len(asked) == 9
