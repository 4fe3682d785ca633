"""A live session: samples come and go; a batch is one of its users."""

import asyncio
import re
from pathlib import Path

import pytest

from atts_harness.errors import (
    ContextLengthError,
    RunInterruptedError,
    SettingError,
    TooManyFailuresError,
)
from atts_harness.journal.contract import MemoryJournal
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId
from atts_harness.running.session import Session
from atts_harness.settings import RunOptions
from atts_harness.simulation.clock import run_simulated
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_faults import FaultPlan
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups, simulate

from .conftest import plain, problem

pytestmark = pytest.mark.usefixtures("mock_installed")

OPTIONS = MockOptions(turns=4, draft_tokens=8, target_tokens=8, ending=0.0)


def live(work, *, engine=None, journal=None, strategy=None, **options):
    """Do `work(session, engine)` in simulated time."""
    used = engine or MockEngine(latency=fixed(1.0), cache=False)
    backend = MockBackend(used)

    async def serve():
        made = strategy or MockTurns(OPTIONS)
        async with Session(
            {"draft": backend, "target": backend},
            RunOptions(metrics_interval=0, **options),
            journal or MemoryJournal(keep=False),
            strategy_of=lambda task: made,
        ) as session:
            return await work(session, used)

    return run_simulated(serve())


def test_samples_that_come_one_by_one_are_those_of_a_batch():
    async def work(session, engine):
        return [await session.sample(problem(doc)) for doc in range(3) for _ in range(2)]

    records, _ = live(work)
    batch, _ = simulate(
        make_groups(3, 2, MockTurns(OPTIONS), prompt="Question {doc}?", max_tokens=1 << 12),
        MockEngine(latency=fixed(1.0), cache=False),
    )
    assert plain(records) == plain(batch)
    assert [record.id.repeat for record in records] == [0, 1] * 3


def test_samples_come_while_others_are_in_progress_and_share_the_slots():
    async def work(session, engine):
        async def late():
            await asyncio.sleep(2.5)
            return await session.sample(problem(1))

        records = await asyncio.gather(session.sample(problem(0)), late())
        return records, session.control.done

    (records, done), seconds = live(work)
    assert [record.id.doc for record in records] == [0, 1]
    assert records[1].started == pytest.approx(2.5)
    assert done == 2
    alone = records[1].ended - records[1].started
    assert seconds == pytest.approx(2.5 + alone, abs=0.2)


def test_a_bound_on_live_samples_holds_for_whoever_comes_first_come_first_served():
    most = 0

    async def work(session, engine):
        nonlocal most

        async def one(doc):
            record = await session.sample(problem(doc))
            return record.started

        async def watch():
            nonlocal most
            while True:
                most = max(most, session.control.live)
                await asyncio.sleep(0.5)

        watching = asyncio.create_task(watch())
        started = await asyncio.gather(*(one(doc) for doc in range(6)))
        watching.cancel()
        return started

    started, _ = live(work, live_samples=2)
    assert most == 2
    assert started == sorted(started)
    assert len(set(started)) >= 3


def test_a_cancelled_sample_frees_what_it_held_and_the_others_go_on():
    async def work(session, engine):
        gone = asyncio.create_task(session.sample(problem(0)))
        stays = asyncio.create_task(session.sample(problem(1)))
        await asyncio.sleep(1.5)
        assert session.control.live == 2
        held = sum(e.slots.in_use for e in session.control.engines)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert sum(e.slots.in_use for e in session.control.engines) == held - 1
        joins = asyncio.create_task(session.sample(problem(2)))
        waits = asyncio.create_task(session.sample(problem(3)))  # for its place
        await asyncio.sleep(0.1)
        assert session.control.live == 2
        waits.cancel()
        records = [await stays, await joins]
        again = await session.sample(problem(0), repeat=0)
        return records, again, session.control

    (records, again, control), _ = live(work, live_samples=2)
    assert [record.id.doc for record in records] == [1, 2]
    whole, _ = live(lambda session, engine: session.sample(problem(0)))
    assert plain([again]) == plain([whole])
    assert (control.live, control.total, control.done) == (0, 3, 3)


def test_siblings_that_gather_are_asked_for_together():
    sharing = MockTurns(MockOptions(turns=2, draft_tokens=8, target_tokens=8, share=True))

    async def work(session, engine):
        with pytest.raises(SettingError, match=r"session\.group\(problem, samples=N\)"):
            await session.sample(problem(0))
        return await session.group(problem(0), samples=3)

    records, _ = live(work, strategy=sharing)
    assert [record.id.repeat for record in records] == [0, 1, 2]
    assert any(record.waited_seconds for record in records) or len(records) == 3


def test_closing_while_busy_ends_what_is_left_and_says_so():
    late = []

    async def work(session, engine):
        async def caller(doc):
            try:
                return await session.sample(problem(doc))
            except RunInterruptedError as error:
                late.append(str(error))
                return None

        tasks = [asyncio.create_task(caller(doc)) for doc in range(3)]
        await asyncio.sleep(0.5)
        return tasks

    tasks, seconds = live(work, live_samples=2)
    assert late == ["the session was closed"] * 3
    assert all(task.done() for task in tasks)
    assert seconds < 8.5  # calls in flight got their moment, and no new ones were begun


def test_a_closed_session_takes_no_more():
    kept = []

    async def work(session, engine):
        kept.append(session)
        return await session.sample(problem(0))

    live(work)

    async def late():
        await kept[0].sample(problem(1))

    with pytest.raises(RunInterruptedError, match="the session was closed"):
        asyncio.run(late())


def test_an_error_in_one_sample_is_its_callers_and_the_others_go_on():
    class Buggy(MockTurns):
        async def run(self, sample, ctx):
            if sample.id.doc == 1:
                raise ZeroDivisionError
            return await super().run(sample, ctx)

    async def work(session, engine):
        found = await asyncio.gather(
            *(session.sample(problem(doc)) for doc in range(3)), return_exceptions=True
        )
        return found, await session.sample(problem(3))

    (found, after), _ = live(work, strategy=Buggy(OPTIONS))
    assert isinstance(found[1], ZeroDivisionError)
    assert [found[0].id.doc, found[2].id.doc, after.id.doc] == [0, 2, 3]


def test_a_sample_that_fails_is_returned_and_too_many_end_the_session():
    engine = MockEngine(faults=FaultPlan({"truncated": 1.0}))

    async def work(session, engine):
        first = await session.sample(problem(0))
        with pytest.raises(TooManyFailuresError):
            await session.sample(problem(1))
        with pytest.raises(TooManyFailuresError):
            await session.sample(problem(2))
        return first

    first, _ = live(work, engine=engine, retries=0, max_failures=1)
    assert first.failed is not None


def test_the_same_sample_twice_at_once_is_refused():
    async def work(session, engine):
        first = asyncio.create_task(session.sample(problem(0), repeat=0))
        await asyncio.sleep(0)
        with pytest.raises(SettingError, match="sample mock/0/0: is in progress already"):
            await session.sample(problem(0), repeat=0)
        with pytest.raises(SettingError, match="in progress already"):
            await session.group(problem(1), samples=[2, 2])
        return await first

    record, _ = live(work)
    assert record.id == SampleId("mock", 0, 0)


def test_a_problem_that_does_not_fit_is_refused_alone():
    async def work(session, engine):
        with pytest.raises(ContextLengthError, match="max_gen_toks"):
            await session.sample(problem(0, max_tokens=1 << 30))
        return await session.sample(problem(1))

    record, _ = live(work)
    assert record.id.doc == 1


def test_memory_stays_flat_without_a_run_directory():
    journal = MemoryJournal(keep=False)

    async def work(session, engine):
        for doc in range(5):
            await session.sample(problem(doc))
        return session

    session, _ = live(work, journal=journal)
    assert not session.finished
    assert not list(journal.recorded())
    assert not list(journal.decisions())


def test_a_sample_may_bring_a_strategy_of_its_own():
    short = MockTurns(MockOptions(turns=1, draft_tokens=8, target_tokens=8, ending=0.0))

    async def work(session, engine):
        return await session.sample(problem(0)), await session.sample(problem(0), strategy=short)

    (long, brief), _ = live(work)
    assert long.turns > brief.turns == 1


def test_the_page_on_live_sessions_works_as_it_stands(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = [block for block in blocks if "Harness.serving" in block]
    mock = '"backend": "mock", "draft": "d", "target": "t", "draft_tokens": 8'
    assert '"preset": "tiny"' in code
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"preset": "tiny"', mock), {"__name__": "page"})
    assert "['" in capsys.readouterr().out
    with open_run(tmp_path / "runs" / "live") as run:
        assert len(list(run.samples())) == 5
