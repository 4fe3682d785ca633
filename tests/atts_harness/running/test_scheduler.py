"""The schedule, in simulated time."""

import asyncio
from collections import Counter

import pytest

from atts_harness.errors import (
    BackendUnavailableError,
    BadRequestError,
    RunInterruptedError,
    TooManyFailuresError,
)
from atts_harness.journal.contract import MemoryJournal
from atts_harness.running.batch import run_groups
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.simulation.clock import run_simulated
from atts_harness.strategy import Strategy, StrategyOptions
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_latency import fixed, lognormal, per_token
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups, sample_ids, simulate


class Made(Strategy):
    name = "test"
    Options = StrategyOptions

    def __init__(self):
        pass


def of(run, **attributes):
    """A strategy that does just this."""

    async def method(self, sample, ctx):
        return await run(sample, ctx)

    return type("Strategy", (Made,), {"run": method, **attributes})()


async def one_draft(sample, ctx):
    reply = await ctx.draft.generate(sample.transcript, kind="draft", turn=0, max_tokens=8)
    return ctx.finish(sample.transcript + reply.segment, "turns")


def test_results_come_in_the_order_of_the_request_whatever_ends_first():
    groups = make_groups(7, 3)
    records, _ = simulate(groups, MockEngine(slots=4, latency=lognormal(1, 1.5)))
    assert [record.id for record in records] == sample_ids(groups)
    ends = [record.ended for record in records]
    assert ends != sorted(ends)


def test_slots_are_never_idle_while_work_is_left():
    engine = MockEngine(slots=4, latency=per_token(0.05, 0.0, 0.01))
    records, seconds = simulate(make_groups(12, 4), engine, engine_concurrency=4)
    longest = max(sum(t.engine_seconds for t in record.calls.values()) for record in records)
    assert engine.busy_seconds / 4 <= seconds <= engine.busy_seconds / 4 + longest


def test_no_more_calls_in_flight_than_the_bounds_allow():
    draft, target = MockEngine(slots=99, latency=fixed(1)), MockEngine(slots=99, latency=fixed(1))
    peaks = Counter()

    def watch(record):
        peaks["draft"] = max(peaks["draft"], draft.running)
        peaks["target"] = max(peaks["target"], target.running)

    simulate(
        make_groups(10, 3),
        draft,
        target,
        observers=Observers(call=[watch]),
        draft_concurrency=5,
        score_concurrency=3,
        takeover_concurrency=3,
        target_concurrency=4,
    )
    assert peaks == {"draft": 5, "target": 4}


@pytest.mark.parametrize("bound", [1, 5, 16])
def test_at_most_so_many_samples_are_live_and_the_bound_is_used(bound):
    control, seen = Control(), []
    simulate(
        make_groups(6, 4),
        MockEngine(slots=64, latency=lognormal(1, 1)),
        observers=Observers(call=[lambda record: seen.append(control.live)]),
        control=control,
        live_samples=bound,
    )
    assert max(seen) == bound


def test_begun_samples_go_first_once_the_bound_is_reached():
    order = []
    simulate(
        make_groups(8, 1, MockTurns(MockOptions(turns=3, ending=0.0, rate=0.0))),
        MockEngine(slots=1, latency=fixed(1)),
        observers=Observers(call=[lambda record: order.append(record.key.sample.doc)]),
        live_samples=2,
        engine_concurrency=1,
    )
    # Nobody begins before one of the two that are live has made all of its six calls.
    for doc in range(2, 8):
        before = order[: order.index(doc)]
        assert sum(before.count(other) == 6 for other in range(doc)) >= doc - 1


def test_groups_that_gather_are_admitted_whole_and_cannot_block_each_other():
    control, live = Control(), []
    groups = make_groups(6, 4, MockTurns(MockOptions(share=True)))
    records, _ = simulate(
        groups,
        MockEngine(slots=3, latency=lognormal(1, 1)),
        observers=Observers(call=[lambda record: live.append(control.live)]),
        control=control,
        live_samples=6,
    )
    assert len(records) == 24
    assert 4 < max(live) <= 6
    assert any(record.waited_seconds > 0 for record in records)


def test_a_group_larger_than_the_bound_runs_alone():
    groups = make_groups(2, 5, MockTurns(MockOptions(share=True, turns=2)))
    records, _ = simulate(groups, MockEngine(latency=fixed(1)), live_samples=3)
    assert len(records) == 10


def test_many_problems_progress_alike():
    order = []

    def watch(record):
        if record.key.kind == "draft":
            order.append(record.key.turn)

    simulate(
        make_groups(300, 1, MockTurns(MockOptions(turns=2, ending=0, rate=0, draft_tokens=4))),
        MockEngine(slots=16, latency=fixed(1)),
        observers=Observers(call=[watch]),
        engine_concurrency=16,
    )
    # First come, first served: nobody drafts a second time before all have begun their first.
    assert order.index(1) >= 300 - 16
    assert sum(order) == 300


def test_a_sample_that_takes_too_long_fails_and_the_others_do_not():
    async def run(sample, ctx):
        if sample.id.doc == 1:
            await asyncio.sleep(0 if sample.id.repeat else 1000)
        return await one_draft(sample, ctx)

    async def slow(sample, ctx):
        transcript = sample.transcript
        for turn in range(1 if sample.id.doc else 50):
            reply = await ctx.draft.generate(transcript, kind="draft", turn=turn, max_tokens=4)
            transcript += reply.segment
        return ctx.finish(transcript, "turns")

    records, _ = simulate(
        make_groups(3, 1, of(slow)), MockEngine(latency=fixed(1)), sample_timeout=10
    )
    assert [record.failed is None for record in records] == [False, True, True]
    assert "sample_timeout" in records[0].failed
    assert records[0].text  # what it had written stays
    # Only the time since its first call counts: waiting before that is nobody's fault.
    records, _ = simulate(make_groups(2, 1, of(run)), MockEngine(), sample_timeout=10)
    assert [record.failed for record in records] == [None, None]


class Refusing(MockBackend):
    """Refuses every other document."""

    def __init__(self, engine, error):
        super().__init__(engine)
        self.error = error

    async def generate(self, request):
        if request.ids[9] % 2:
            raise self.error
        return await super().generate(request)


def test_a_refused_request_fails_its_sample_and_is_recorded():
    journal = MemoryJournal()
    backend = Refusing(MockEngine(), BadRequestError("no"))
    work = run_groups(
        make_groups(8, 1, of(one_draft), prompt="Question{doc}"),
        {"draft": backend, "target": backend},
        RunOptions(),
        journal,
    )
    records, _ = run_simulated(work)
    assert [record.failed for record in records] == [None, "BadRequestError: no"] * 4
    assert Counter(call.error for call in journal.calls()) == {None: 4, "BadRequestError: no": 4}


def test_too_many_failures_end_the_run_and_name_what_is_missing():
    backend = Refusing(MockEngine(latency=fixed(1)), BackendUnavailableError("never", 0.1))
    work = run_groups(
        make_groups(40, 1, of(one_draft), prompt="Question{doc}"),
        {"draft": backend, "target": backend},
        RunOptions(max_failures=3, retries=1, draft_concurrency=4),
        MemoryJournal(),
    )
    with pytest.raises(TooManyFailuresError, match="max_failures=3: 4 samples") as caught:
        run_simulated(work)
    assert 0 < len(caught.value.missing) < 36
    assert all(name.startswith("mock/") for name in caught.value.missing)


def test_a_bug_in_a_strategy_is_raised_as_it_is():
    async def broken(sample, ctx):
        await one_draft(sample, ctx)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        simulate(make_groups(3, 2, of(broken)), MockEngine())


def test_stopping_lets_calls_in_flight_finish_and_begins_no_new_ones():
    control, engine, done = Control(), MockEngine(slots=4, latency=fixed(3)), []

    def watch(record):
        done.append(record.done)
        if len(done) == 8:
            control.stop("enough")

    with pytest.raises(RunInterruptedError, match="enough") as caught:
        simulate(
            make_groups(10, 2),
            engine,
            observers=Observers(call=[watch]),
            control=control,
            engine_concurrency=4,
        )
    assert len(engine.log) == 12  # the four that were in flight were answered, and no more asked
    assert len(done) == 12
    assert len(caught.value.missing) == 20 - control.done


def test_calls_that_take_too_long_to_finish_are_cancelled_when_a_run_is_stopped():
    control = Control()
    engine = MockEngine(slots=4, latency=fixed(1000))
    ended = []

    async def run(sample, ctx):
        try:
            return await one_draft(sample, ctx)
        finally:
            ended.append(asyncio.get_running_loop().time())
            control.stop("enough")

    async def begin(sample, ctx):
        if sample.id.doc == 0:
            await asyncio.sleep(1)
            control.stop("enough")
        return await run(sample, ctx)

    with pytest.raises(RunInterruptedError):
        simulate(make_groups(3, 1, of(begin)), engine, control=control, timeout=5000)
    assert max(ended) < 1 + 10
