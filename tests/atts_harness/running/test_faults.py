"""What goes wrong with engines, in simulated time."""

import asyncio
import logging
from collections import Counter

import msgspec
import pytest

from atts_harness.errors import BackendUnavailableError, EngineGoneError, ModelChangedError
from atts_harness.journal.contract import MemoryJournal
from atts_harness.ledger.sums import Ledger
from atts_harness.running.batch import run_groups
from atts_harness.running.client import LONGEST_WAIT
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.simulation.clock import run_simulated
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_faults import FAULTS, FaultPlan, request_key
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups, simulate

SHORT = MockTurns(MockOptions(turns=3, draft_tokens=8, target_tokens=8))
AS_SEEN = {
    "500": "BackendUnavailableError",
    "429": "BackendUnavailableError",
    "reset": "BackendUnavailableError",
    "timeout": "BackendTimeoutError",
    "truncated": "MalformedReplyError",
    "nan": "MalformedReplyError",
    "length": "MalformedReplyError",
}


def by_key(pairs):
    grouped = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return grouped


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_completes_through_each_fault_and_the_books_agree_request_by_request(fault):
    engine = MockEngine(latency=fixed(1), faults=FaultPlan({fault: 0.1}, seed=1))
    journal, ledger = MemoryJournal(), Ledger()
    records, _ = simulate(
        make_groups(10, 4, SHORT),
        engine,
        journal=journal,
        observers=Observers([ledger.add_call], [], [ledger.add_sample]),
        timeout=20,
        draft_concurrency=16,
    )
    assert [record.failed for record in records] == [None] * 40
    # The engine's log against the journal, request by request and try by try.
    seen = by_key((entry.key, entry.fault) for entry in engine.log)
    booked = {}
    for call in journal.calls():
        tries = booked.setdefault(request_key(call.request_hash), [])
        tries += [f.error for f in call.faults] + [None] * (call.reply is not None)
    assert {k: sorted(v, key=str) for k, v in booked.items()} == {
        k: sorted((f and AS_SEEN[f] for f in v), key=str) for k, v in seen.items()
    }
    # The ledger against the engine's own counters.
    injected = sum(entry.fault is not None for entry in engine.log)
    assert injected > 5
    accounts = ledger.accounts.values()
    assert sum(sum(a.faults.values()) for a in accounts) == injected
    assert sum(a.totals.calls for a in accounts) == len(engine.log) - injected
    # A reply that was spoilt on the way was worked for all the same, and only the engine knows.
    if fault in ("500", "429", "reset", "timeout"):
        assert sum(a.totals.prompt_tokens for a in accounts) == engine.tokens["prompt"]
        assert sum(a.totals.completion_tokens for a in accounts) == engine.tokens["generation"]


def test_results_are_the_same_with_and_without_faults():
    def texts(faults):
        engine = MockEngine(latency=fixed(1), faults=faults)
        records, _ = simulate(make_groups(6, 3, SHORT), engine, timeout=20, retries=50)
        return [(record.text, record.finish, record.failed) for record in records]

    everything = FaultPlan(dict.fromkeys(FAULTS, 0.08))
    assert texts(everything) == texts(FaultPlan())


def test_a_call_that_fails_too_often_fails_its_sample_for_good():
    engine = MockEngine(latency=fixed(1), faults=FaultPlan({"truncated": 1.0}))
    records, _ = simulate(make_groups(2, 2, SHORT), engine, retries=2)
    assert {record.failed for record in records} == {"MalformedReplyError: mock: truncated reply"}
    assert {record.finish for record in records} == {"failed"}
    assert len(engine.log) == 4 * 3
    assert {record.calls["draft/draft"].retries for record in records} == {2}


def test_a_score_that_fails_for_good_is_no_number_and_does_not_end_the_sample():
    def only_scores(key, tried):
        return "length" if key.startswith("score") else None

    plan = FaultPlan()
    object.__setattr__(plan, "rates", {"length": 1.0})
    object.__setattr__(plan, "draw", only_scores)
    journal = MemoryJournal()
    records, _ = simulate(
        make_groups(2, 2, SHORT), MockEngine(faults=plan), journal=journal, retries=1
    )
    assert [record.failed for record in records] == [None] * 4
    scores = [call for call in journal.calls() if call.key.kind == "score"]
    assert scores
    assert all(call.reply is None and "log-probabilities for" in call.error for call in scores)


def test_a_server_that_asks_to_wait_is_not_asked_before():
    engine = MockEngine(faults=FaultPlan({"429": 1.0}, most=1, retry_after=25.0))
    simulate(make_groups(3, 1, SHORT), engine)
    tries = by_key((entry.key, entry.at) for entry in engine.log)
    pauses = [later - first for first, later in tries.values()]
    assert all(25.0 <= pause <= 25.0 * 1.25 for pause in pauses)
    assert len(set(pauses)) > 1  # not all at the same time


def test_a_server_that_asks_to_wait_for_ages_is_asked_anyway():
    engine = MockEngine(faults=FaultPlan({"429": 1.0}, most=1, retry_after=9e9))
    _, seconds = simulate(make_groups(1, 1, MockTurns(MockOptions(turns=1, rate=0))), engine)
    assert seconds <= 2 * LONGEST_WAIT * 1.25


def gone_for(engine, begin, seconds, attribute="gone"):
    """A strategy around `SHORT` that makes the engine unreachable for a while."""

    class Meanwhile(MockTurns):
        begun = False

        async def run(self, sample, ctx):
            if not Meanwhile.begun:
                Meanwhile.begun = True
                loop = asyncio.get_running_loop()
                loop.call_later(begin, setattr, engine, attribute, True)
                loop.call_later(begin + seconds, setattr, engine, attribute, False)
            return await super().run(sample, ctx)

    return Meanwhile(MockOptions(turns=10, ending=0.0, draft_tokens=8, target_tokens=8))


@pytest.mark.parametrize(("absent", "outages"), [(True, 1), (False, 0)])
def test_an_engine_at_whose_address_nobody_listens_is_gone_at_once(caplog, absent, outages):
    class Fails(MockEngine):
        failed = False

        async def serve(self, request):
            if not self.failed:
                self.failed = True
                raise BackendUnavailableError("connection refused", absent=absent)
            return await super().serve(request)

    engine, control = Fails(latency=fixed(1)), Control()
    with caplog.at_level(logging.WARNING):
        records, _ = simulate(make_groups(1, 1, SHORT), engine, control=control, engine_timeout=77)
    assert [record.failed for record in records] == [None]
    assert len(control.engines[0].outages) == outages
    told = "the engine is gone (nobody listens there: connection refused); waiting for its return"
    assert (f"{told}, for 77 s at most" in caplog.text) == bool(outages)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_run_outlasts_an_engine_that_is_gone_for_a_minute(concurrency):
    engine, control = MockEngine(latency=fixed(1)), Control()
    records, seconds = simulate(
        make_groups(4, 4, gone_for(engine, 3, 60)),
        engine,
        control=control,
        engine_concurrency=concurrency,
        retries=3,
    )
    assert [record.failed for record in records] == [None] * 16
    (outage,) = control.engines[0].outages
    assert 60 <= outage.ended - outage.began + 5 <= 80
    # While it was gone it was not bombarded, and nobody lost a try to it.
    work = engine.busy_seconds / concurrency
    assert seconds < work + 60 + 30


def test_an_engine_that_says_it_is_healthy_and_answers_nothing_is_noticed():
    engine, control = MockEngine(latency=fixed(1)), Control()
    records, _ = simulate(
        make_groups(4, 4, gone_for(engine, 3, 200, "stalled")),
        engine,
        control=control,
        stall_timeout=30,
        timeout=600,
    )
    assert [record.failed for record in records] == [None] * 16
    assert "no reply for" in control.engines[0].outages[0].reason
    assert control.engines[0].outages[0].began < 3 + 30 + 5


def test_slow_calls_are_no_stall_as_long_as_any_is_answered():
    engine, control = MockEngine(slots=1, latency=fixed(20)), Control()
    simulate(make_groups(1, 8, SHORT), engine, control=control, stall_timeout=30, timeout=9999)
    assert control.engines[0].outages == []


def test_an_engine_that_comes_back_as_another_model_is_refused():
    engine, journal = MockEngine(latency=fixed(1)), MemoryJournal()
    groups = make_groups(4, 4, gone_for(engine, 3, 60))

    class Exchanged(type(groups[0].strategy)):
        """Meanwhile the engine becomes another one."""

        async def run(self, sample, ctx):
            asyncio.get_running_loop().call_later(20, setattr, engine, "seed", 9)
            return await super().run(sample, ctx)

    exchanged = make_groups(4, 4, Exchanged(groups[0].strategy.options))
    with pytest.raises(ModelChangedError, match=r"model was 'draft-0', now 'draft-9'") as caught:
        simulate(exchanged, engine, journal=journal)
    assert len(caught.value.missing) == 16
    assert all(call.done < 20 for call in journal.calls() if call.reply is not None)
    engine.gone, engine.seed = False, 0
    records, _ = simulate(groups, engine, journal=journal)
    assert [record.failed for record in records] == [None] * 16


def test_a_restart_too_short_to_be_an_outage_is_seen_by_the_first_call_that_breaks():
    engine, journal, control = MockEngine(latency=fixed(1)), MemoryJournal(), Control()

    class Restarted(type(gone_for(engine, 3, 1))):
        async def run(self, sample, ctx):
            asyncio.get_running_loop().call_later(3.5, setattr, engine, "seed", 9)
            return await super().run(sample, ctx)

    with pytest.raises(ModelChangedError):
        simulate(
            make_groups(1, 1, Restarted(MockOptions(turns=10, ending=0.0))),
            engine,
            journal=journal,
            control=control,
        )
    assert control.engines[0].outages == []
    assert all(call.done < 4 for call in journal.calls() if call.reply is not None)


def test_a_restart_between_two_calls_is_seen_after_a_while():
    engine = MockEngine(latency=fixed(1))

    class Idle(MockTurns):
        async def run(self, sample, ctx):
            await ctx.draft.generate(sample.transcript, kind="judge", turn=0, max_tokens=4)
            engine.seed = 9
            await asyncio.sleep(100)
            return await super().run(sample, ctx)

    with pytest.raises(ModelChangedError):
        simulate(make_groups(1, 1, Idle(MockOptions(turns=2))), engine, stall_timeout=60)


def test_a_newer_engine_after_an_outage_is_said_and_goes_on(caplog):
    engine = MockEngine(latency=fixed(1))
    plan = gone_for(engine, 3, 60)

    class Upgraded(MockBackend):
        async def identify(self):
            return msgspec.structs.replace(await super().identify(), version="2.0")

    backend = Upgraded(engine)
    backend.identity = msgspec.structs.replace(backend.identity, version="1.0")
    work = run_groups(
        make_groups(2, 2, plan),
        {"draft": backend, "target": backend},
        RunOptions(metrics_interval=0),
        MemoryJournal(keep=False),
    )
    records, _ = run_simulated(work)
    assert [record.failed for record in records] == [None] * 4
    assert "version was '1.0', now '2.0'" in caplog.text


def test_an_engine_that_does_not_come_back_ends_the_run_and_nothing_is_lost():
    engine, journal = MockEngine(latency=fixed(1)), MemoryJournal()
    groups = make_groups(4, 4, gone_for(engine, 3, 1e9))
    with pytest.raises(EngineGoneError, match="engine_timeout=120") as caught:
        simulate(groups, engine, journal=journal, engine_timeout=120)
    assert len(caught.value.missing) == 16
    assert len(journal.calls()) >= 16
    engine.gone = False
    records, _ = simulate(groups, engine, journal=journal)
    assert [record.failed for record in records] == [None] * 16


def test_one_request_that_always_fails_does_not_make_an_engine_gone():
    engine, control = MockEngine(latency=fixed(1)), Control()
    poison = iter(["500"] * 1000)
    plan = FaultPlan({"500": 1.0})
    first = []

    def draw(key, tried):
        first.append(key)
        return next(poison) if key == first[0] else None

    object.__setattr__(plan, "draw", draw)
    engine.faults = plan
    records, _ = simulate(
        make_groups(5, 1, SHORT), engine, control=control, engine_concurrency=1, retries=2
    )
    assert Counter(record.failed is None for record in records) == {True: 4, False: 1}
    assert control.engines[0].outages == []


def test_two_engines_fail_independently():
    draft, target = MockEngine(latency=fixed(1)), MockEngine(latency=fixed(1), seed=1)
    control = Control()
    records, _ = simulate(
        make_groups(4, 2, gone_for(target, 3, 60)), draft, target, control=control
    )
    assert [record.failed for record in records] == [None] * 8
    outages = {engine.name: len(engine.outages) for engine in control.engines}
    assert outages == {"draft": 0, "target": 1}
