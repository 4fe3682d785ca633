"""The mock engine: what it draws, how long it takes, what goes wrong on purpose."""

import asyncio
import random
from collections import Counter

import pytest

from atts_harness.backend import GenerateRequest, ScoreRequest
from atts_harness.errors import BackendUnavailableError, MalformedReplyError
from atts_harness.journal.hashing import request_hash
from atts_harness.simulation.clock import run_simulated
from atts_harness.testing.mock_engine import (
    BLOCK,
    MockBackend,
    MockEngine,
    full_length,
    random_text,
)
from atts_harness.testing.mock_faults import FAULTS, FaultPlan, request_key
from atts_harness.testing.mock_latency import (
    RequestWork,
    by_sort,
    fixed,
    lognormal,
    per_token,
    traced,
)
from atts_harness.testing.scripted import ByteTokenizer

IDS = tuple(b"a context of some length")


def ask(engine, *requests):
    """Replies to requests sent at once, and the simulated seconds."""
    backend = MockBackend(engine)

    async def one(request):
        if isinstance(request, ScoreRequest):
            return await backend.score(request)
        return await backend.generate(request)

    async def go():
        return await asyncio.gather(*map(one, requests), return_exceptions=True)

    return run_simulated(go())


def test_the_same_request_gets_the_same_reply_and_another_seed_another():
    request = GenerateRequest(ids=IDS, max_tokens=32, seed=1)
    other = GenerateRequest(ids=IDS, max_tokens=32, seed=2)
    (first, second), _ = ask(MockEngine(), request, other)
    (again,), _ = ask(MockEngine(), request)
    (elsewhere,), _ = ask(MockEngine(seed=5), request)
    assert first == again
    assert len({first.ids, second.ids, elsewhere.ids}) == 3


def test_replies_keep_to_the_limits_and_close_turns_as_often_as_they_should():
    requests = [GenerateRequest(ids=IDS, max_tokens=20, seed=n) for n in range(400)]
    engine = MockEngine(writer=random_text(lengths=(1, 10), closing=0.3))
    replies, _ = ask(engine, *requests)
    assert all(1 <= len(reply.ids) <= 11 for reply in replies)
    endings = Counter(reply.ending for reply in replies)
    assert 80 < endings["eos"] < 160
    assert all((reply.ids[-1] == 259) == (reply.ending == "eos") for reply in replies)
    (cut,), _ = ask(MockEngine(writer=full_length()), GenerateRequest(ids=IDS, max_tokens=7))
    assert (len(cut.ids), cut.ending) == (7, "length")


def test_a_stop_string_ends_a_reply_with_the_token_that_completes_it():
    engine = MockEngine(writer=lambda request, rng: (tuple(b"one two three"), "length"))
    request = GenerateRequest(ids=IDS, max_tokens=99, stop=("three", "wo t"))
    (reply,), _ = ask(engine, request)
    assert (bytes(reply.ids), reply.ending, reply.stop) == (b"one two t", "stop", "wo t")


def test_a_score_says_the_same_of_a_token_wherever_it_begins():
    requests = [ScoreRequest(ids=IDS, start=start) for start in (1, 10)]
    (whole, tail), _ = ask(MockEngine(), *requests)
    assert whole.logprobs[9:] == tail.logprobs
    assert all(value < 0 for value in whole.logprobs)
    assert len(set(whole.logprobs)) > 5


def test_alternatives_hold_the_chosen_token():
    (reply,), _ = ask(MockEngine(), GenerateRequest(ids=IDS, max_tokens=9, top_logprobs=3))
    assert all(
        len(top) == 3 and id_ in top for id_, top in zip(reply.ids, reply.top_logprobs, strict=True)
    )


def test_slots_are_what_runs_at_a_time():
    requests = [GenerateRequest(ids=IDS, max_tokens=4, seed=n) for n in range(10)]
    engine = MockEngine(slots=3, latency=fixed(2.0))
    _, seconds = ask(engine, *requests)
    assert seconds == pytest.approx(8.0)
    assert engine.busy_seconds == pytest.approx(20.0)
    assert (engine.running, engine.waiting, engine.figures()["kv_usage"]) == (0, 0, 0)


def test_time_goes_by_tokens():
    law = per_token(base=1.0, prefill=0.1, decode=0.01, batching=0.5)
    rng = random.Random(0)
    alone = law(RequestWork("generate", prompt=20, cached=10, written=30, batch=1), rng)
    assert alone == pytest.approx(1 + 1 + 0.3)
    assert law(RequestWork("generate", 20, 10, 30, batch=3), rng) == pytest.approx(2 * alone)


def test_time_can_come_from_a_trace_or_a_distribution():
    rng = random.Random(0)
    work = RequestWork("generate", 1, 0, 1, 1)
    assert {traced([1.5, 2.5])(work, rng) for _ in range(50)} == {1.5, 2.5}
    with pytest.raises(ValueError, match="no durations"):
        traced([])
    draws = sorted(lognormal(2.0, 0.7)(work, rng) for _ in range(2001))
    assert draws[1000] == pytest.approx(2.0, rel=0.1)
    law = by_sort({"generate": fixed(1.0), "score": fixed(9.0)})
    assert law(RequestWork("score", 1, 0, 0, 1), rng) == 9.0


def test_known_prefixes_are_cached_in_whole_blocks():
    ids = tuple(range(1, 201))
    engine = MockEngine()
    score = ScoreRequest(ids=ids, start=150)
    (first,), _ = ask(engine, GenerateRequest(ids=ids, max_tokens=4))
    (again, scored), _ = ask(engine, GenerateRequest(ids=ids, max_tokens=4), score)
    assert first.usage.cached_tokens == 0
    assert again.usage.cached_tokens == 3 * BLOCK
    assert scored.usage.cached_tokens == 149 // BLOCK * BLOCK or 149
    assert engine.tokens["prompt"] == 600
    (without,), _ = ask(MockEngine(cache=False), score)
    assert without.usage.cached_tokens is None


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_looks_like_itself_and_is_logged(fault):
    engine = MockEngine(faults=FaultPlan({fault: 1.0}, most=1, retry_after=7.0))
    request = ScoreRequest(ids=IDS, start=5)

    async def once():
        try:
            async with asyncio.timeout(100):
                return await MockBackend(engine).score(request)
        except (BackendUnavailableError, MalformedReplyError, TimeoutError) as error:
            return error

    seen, _ = run_simulated(once())
    served, _ = run_simulated(once())
    assert len(served.logprobs) == len(IDS) - 5
    assert [entry.fault for entry in engine.log] == [fault, None]
    assert {entry.key for entry in engine.log} == {request_key(request_hash(request))}
    if fault == "nan":
        assert seen.logprobs[-1] != seen.logprobs[-1]
    elif fault == "length":
        assert len(seen.logprobs) == len(IDS) - 6
    else:
        kinds = {"timeout": TimeoutError, "truncated": MalformedReplyError}
        assert type(seen) is kinds.get(fault, BackendUnavailableError)
        assert getattr(seen, "retry_after", None) == (7.0 if fault == "429" else None)


def test_faults_come_as_often_as_planned_and_are_drawn_from_the_request():
    plan = FaultPlan({"500": 0.1, "429": 0.2}, seed=3)
    drawn = Counter(plan.draw(f"key {n}", 0) for n in range(5000))
    assert drawn["500"] == pytest.approx(500, abs=75)
    assert drawn["429"] == pytest.approx(1000, abs=100)
    assert plan.draw("key 7", 2) == FaultPlan({"500": 0.1, "429": 0.2}, seed=3).draw("key 7", 2)


@pytest.mark.parametrize("rates", [{"500": 0.6, "429": 0.6}, {"503": 0.1}, {"500": -0.1}])
def test_a_plan_that_makes_no_sense_is_refused(rates):
    with pytest.raises(ValueError, match="rates: "):
        FaultPlan(rates)


def test_an_engine_that_is_gone_is_gone_for_all():
    engine = MockEngine(gone=True, tokenizer=ByteTokenizer())
    (reply,), _ = ask(engine, GenerateRequest(ids=IDS, max_tokens=4))
    assert isinstance(reply, BackendUnavailableError)
    assert engine.log == []


def test_simulated_time_jumps_and_tells_a_deadlock():
    async def long():
        await asyncio.sleep(1e6)
        return asyncio.get_running_loop().time()

    assert run_simulated(long()) == (1e6, 1e6)

    async def for_ever():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="never comes"):
        run_simulated(for_ever())
