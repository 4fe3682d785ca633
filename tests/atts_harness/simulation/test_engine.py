"""The simulated engine against traces worked out by hand, queueing theory, and its own limits."""

import asyncio
import random

import pytest

from atts_harness.errors import ContextLengthError
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costs import Measured, Step, StepSeconds
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits

SECOND_A_STEP = Measured(step=1.0, sequence=0.0, prompt_token=0.0, pair=0.0)


def engine(cost=SECOND_A_STEP, **limits):
    return SimulatedEngine(cost, EngineLimits(**{"kv_tokens": 100_000, "block": 4, **limits}))


def simulate(work):
    result, seconds = run_simulated(work)
    return result, pytest.approx(seconds)


def ids(count, first=0):
    return tuple(range(first, first + count))


class Recorder:
    """A cost model that remembers the steps."""

    def __init__(self):
        self.steps = []

    def seconds(self, step):
        self.steps.append(step)
        return StepSeconds(compute=1.0, memory=0.0, links=0.0, overhead=0.0)


def test_a_generation_takes_its_prefill_and_a_step_a_further_token():
    one = engine()

    async def work():
        return await one.generate(ids(10), ids(5, 100))

    job, seconds = simulate(work())
    assert seconds == 5  # the prefill writes the first of five tokens
    assert job.first_token == 1
    assert one.figures.computed_tokens == 10
    assert one.figures.written_tokens == 5
    assert one.figures.steps == 5


def test_an_idle_engine_begins_with_the_first_request_and_the_others_share_steps():
    recorder = Recorder()
    one = engine(recorder)

    async def work():
        await asyncio.gather(*(one.generate(ids(10, 1000 * n), ids(5)) for n in range(8)))

    _, seconds = simulate(work())
    assert seconds == 6
    assert [s.sequences for s in recorder.steps[:2]] == [1, 8]


def test_a_prompt_is_shared_as_soon_as_it_is_scheduled():
    one = engine(block=4, max_num_batched_tokens=64)

    async def work():
        busy = asyncio.create_task(one.generate(ids(2, 5000), ids(6)))
        await asyncio.sleep(0.5)  # the four come in one step
        jobs = await asyncio.gather(*(one.generate(ids(9), ids(2)) for _ in range(4)))
        await busy
        return jobs

    jobs, _ = simulate(work())
    assert sorted(job.cached for job in jobs) == [0, 8, 8, 8]


def test_a_long_prompt_is_computed_in_chunks_beside_those_that_decode():
    recorder = Recorder()
    one = engine(recorder, max_num_batched_tokens=8)

    async def work():
        first = asyncio.create_task(one.generate(ids(4), ids(6)))
        await asyncio.sleep(1.5)
        await one.generate(ids(20, 1000), ids(1))
        await first

    _, seconds = simulate(work())
    # Steps 1 to 2: prefill, decode. The other comes in step 2: 7 + 7 + 6 tokens beside a decode.
    assert [(s.decodes, s.prompt_tokens) for s in recorder.steps] == [
        (0, 4),
        (1, 0),
        (1, 7),
        (1, 7),
        (1, 6),
        (1, 0),
    ]
    assert seconds == 6


def test_without_mixed_steps_those_that_decode_wait_for_prompts():
    recorder = Recorder()
    one = engine(recorder, mixed_steps=False)

    async def late():
        await asyncio.sleep(1.5)
        return await one.generate(ids(20, 500), ids(2, 900))

    async def work():
        return await asyncio.gather(one.generate(ids(10), ids(4, 100)), late())

    _, seconds = simulate(work())
    # Its prompt, a token, the other's prompt alone, a token of both, and its fourth token.
    computed = [(step.decodes, step.prompt_tokens) for step in recorder.steps]
    assert computed == [(0, 10), (1, 0), (0, 20), (2, 0), (1, 0)]
    assert seconds == 5  # mixed, it would be 4


def test_a_request_is_let_in_at_the_end_of_the_step_that_it_finds():
    one = engine()

    async def work():
        first = asyncio.create_task(one.generate(ids(4), ids(50)))
        await asyncio.sleep(10.25)
        job = await one.generate(ids(4, 1000), ids(2))
        at = asyncio.get_running_loop().time()
        await first
        return job, at

    (job, at), seconds = simulate(work())
    assert at == pytest.approx(13)  # it waits until 11, then prefill and a decode
    assert job.first_token == pytest.approx(1.75)
    assert seconds == 50


def test_the_more_urgent_goes_first_where_the_batch_is_full():
    one = engine(max_num_seqs=1)
    order = []

    async def ask(name, priority):
        await one.generate(ids(4, hash(name) % 1000), ids(2), priority)
        order.append(name)

    async def work():
        first = asyncio.create_task(ask("first", 5))
        await asyncio.sleep(0.5)
        await asyncio.gather(ask("late draft", 2), ask("later score", 0), first)

    simulate(work())
    assert order == ["first", "later score", "late draft"]


def test_a_context_that_was_computed_is_read_from_the_cache_in_whole_blocks():
    one = engine()

    async def work():
        await one.generate(ids(10), ids(5, 100))
        again = await one.generate((*ids(10), *ids(5, 100), 7), ids(1))
        other = await one.generate((*ids(10), 55, 56, 57, 58), ids(1))
        return again, other

    (again, other), _ = simulate(work())
    assert again.cached == 12  # 14 of the first one's 15 tokens were computed: three blocks of 4
    assert other.cached == 8


def test_a_score_reads_the_cache_up_to_the_token_before_its_first():
    one = engine()

    async def work():
        await one.generate(ids(40), ids(1))
        return await one.score(ids(60), start=34)

    job, _ = simulate(work())
    assert job.cached == 32
    assert one.figures.computed_tokens == 40 + 28


def test_a_score_that_cannot_read_the_cache_computes_everything_and_leaves_it_behind():
    one = engine(scores_read_cache=False)

    async def work():
        await one.generate(ids(40), ids(1))
        score = await one.score(ids(60), start=34)
        return score, await one.generate(ids(60), ids(1))

    (score, after), _ = simulate(work())
    assert score.cached == 0
    assert after.cached == 56
    assert one.figures.computed_tokens == 40 + 60 + 4


def test_siblings_share_a_prompt_once_it_is_computed():
    one = engine(kv_tokens=2000)

    async def work():
        await one.generate(ids(1000), ids(1))
        await asyncio.gather(
            *(one.generate((*ids(1000), 5000 + n), ids(20, 100)) for n in range(8))
        )

    simulate(work())
    assert one.figures.kv_peak <= 1000 + 8 * 28
    assert one.figures.preemptions == 0


def test_without_room_the_least_urgent_is_preempted_and_computed_again():
    one = engine(kv_tokens=64)

    async def work():
        return await asyncio.gather(
            *(one.generate(ids(20, 100 * n), ids(30, 1000 * n), n) for n in range(3))
        )

    jobs, _ = simulate(work())
    assert all(job.written == 30 for job in jobs)
    assert one.figures.preemptions > 0
    assert one.figures.computed_tokens > 60
    assert one.figures.kv_peak <= 64


def test_what_can_never_fit_is_refused():
    one = engine(kv_tokens=64)

    async def work():
        with pytest.raises(ContextLengthError, match="exceeds the KV cache of 64"):
            await one.generate(ids(50), ids(30))

    simulate(work())


def test_a_cancelled_request_frees_its_place_at_once():
    one = engine(max_num_seqs=1)

    async def work():
        first = asyncio.create_task(one.generate(ids(4), ids(1000)))
        queued = asyncio.create_task(one.generate(ids(4, 50), ids(1000)))
        await asyncio.sleep(3.5)
        first.cancel()
        queued.cancel()
        await asyncio.gather(first, queued, return_exceptions=True)
        await one.generate(ids(4, 100), ids(3))

    _, seconds = simulate(work())
    assert seconds == 4 + 3
    assert one.running == one.waiting == one.kv_in_use == 0


def test_engines_that_share_a_gpu_take_turns():
    device = asyncio.Lock()
    limits = EngineLimits(kv_tokens=1000, block=4)
    pair = [SimulatedEngine(SECOND_A_STEP, limits, device) for _ in range(2)]

    async def work():
        await asyncio.gather(*(one.generate(ids(4), ids(10)) for one in pair))

    _, seconds = simulate(work())
    assert seconds == 20


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_limits_hold_and_nothing_is_left(seed):
    rng = random.Random(seed)
    recorder = Recorder()
    one = engine(recorder, kv_tokens=400, max_num_seqs=6, max_num_batched_tokens=32)
    contexts = [ids(rng.randint(5, 60), 1000 * n) for n in range(4)]

    async def ask():
        await asyncio.sleep(rng.uniform(0, 60))
        context = rng.choice(contexts)[: rng.randint(4, 60)]
        if rng.random() < 0.3:
            return await one.score(context, rng.randint(1, len(context) - 1), rng.randint(0, 2))
        work = one.generate(context, ids(rng.randint(1, 40), 10_000), rng.randint(0, 2))
        if rng.random() < 0.2:
            try:
                return await asyncio.wait_for(work, rng.uniform(0, 20))
            except TimeoutError:
                return None
        return await work

    async def work():
        return await asyncio.gather(*(ask() for _ in range(120)))

    jobs, _ = simulate(work())
    assert all(job is None or job.complete for job in jobs)
    assert one.figures.kv_peak <= 400
    assert one.running == one.waiting == one.kv_in_use == 0
    assert one.kv_cached <= 400
    assert max(step.tokens for step in recorder.steps) <= 32
    assert max(step.sequences for step in recorder.steps) <= 6


def test_alone_it_is_a_queue_of_deterministic_service():
    """Poisson arrivals, one at a time, one step each: M/D/1. W = rho / (2 mu (1 - rho))."""
    load, requests = 0.5, 20_000
    one = engine(max_num_seqs=1, prefix_cache=False)
    rng = random.Random(5)
    waits = []

    async def ask(at):
        await asyncio.sleep(at)
        loop = asyncio.get_running_loop()
        came = loop.time()
        await one.generate((1, 2), (3,))
        waits.append(loop.time() - came - 1.0)

    async def work():
        at, tasks = 0.0, []
        for _ in range(requests):
            at += rng.expovariate(load)
            tasks.append(asyncio.create_task(ask(at)))
        await asyncio.gather(*tasks)

    simulate(work())
    assert sum(waits) / requests == pytest.approx(load / (2 * (1 - load)), rel=0.05)


def test_more_work_never_costs_less():
    cost = Measured(step=1e-3, sequence=1e-4, prompt_token=1e-5, pair=1e-8)
    small = cost.seconds(Step(decodes=1, context=10)).total
    large = cost.seconds(Step(decodes=2, prompt_tokens=5, context=20)).total
    assert 0 < small < large
