"""A live session with a run directory goes on where it stopped."""

import asyncio
import contextlib

import pytest

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.errors import (
    JournalMismatchError,
    RunInterruptedError,
)
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId
from atts_harness.strategy import RunInfo

from .conftest import plain, problem, serve

pytestmark = pytest.mark.usefixtures("mock_installed")


def test_a_session_with_a_run_directory_goes_on_where_it_stopped(tmp_path):
    folder = str(tmp_path / "run")

    async def first(session):
        one = await session.sample(problem(0))
        late = asyncio.create_task(session.sample(problem(1)))
        late.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0.05)
        with contextlib.suppress(RunInterruptedError):
            await asyncio.wait_for(asyncio.shield(late), 0.01)
        return one

    async def second(session):
        return [await session.sample(problem(doc)) for doc in range(2)]

    with contextlib.suppress(TimeoutError):
        serve(first, run_dir=folder, mock_seconds=0.03)
    with open_run(folder) as run:
        calls = [call.key for call in run.calls()]
        done = list(run.samples())
        assert run.missing() == [SampleId("mock", 1, 0)]
        assert run.record.tasks["mock"]["options"]["turns"] == 3
    assert len(done) == 1
    records = serve(second, run_dir=folder)
    assert records[0].text == done[0].text
    with open_run(folder) as run:
        assert run.complete
        keys = [call.key for call in run.calls()]
        assert keys[: len(calls)] == calls
        assert len(set(keys)) == len(keys)
        assert [session.state for session in run.sessions()][-1] == "finished"
    whole = serve(second)
    assert plain(whole) == plain(records)


def test_a_cancelled_sample_is_not_missing_and_goes_on_when_it_is_asked_for_again(tmp_path):
    folder = str(tmp_path / "run")

    async def work(session):
        gone = asyncio.create_task(session.sample(problem(0), repeat=0))
        await asyncio.sleep(0.06)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await session.sample(problem(1))
        return await session.sample(problem(0), repeat=0)

    async def without(session):
        gone = asyncio.create_task(session.sample(problem(0), repeat=0))
        await asyncio.sleep(0.06)
        gone.cancel()
        await asyncio.wait({gone})
        await session.sample(problem(1))

    record = serve(work, run_dir=folder, mock_seconds=0.02)
    with open_run(folder) as run:
        assert run.complete
        keys = [call.key for call in run.calls()]
        assert len(set(keys)) == len(keys)
        assert {s.id for s in run.samples()} == {record.id, SampleId("mock", 1, 0)}
    serve(without, run_dir=folder + "-2", mock_seconds=0.02)
    with open_run(folder + "-2") as run:
        assert run.complete
        assert [s.id for s in run.samples()] == [SampleId("mock", 1, 0)]
        assert any(call.key.sample.doc == 0 for call in run.calls())  # what it cost stays


def test_another_question_under_a_recorded_name_is_refused(tmp_path):
    folder = str(tmp_path / "run")
    serve(lambda session: session.sample(problem(0)), run_dir=folder)
    with pytest.raises(JournalMismatchError, match="mock, document 0: the prompt differs"):
        serve(lambda session: session.sample(problem(0, text="Another?")), run_dir=folder)
    with pytest.raises(JournalMismatchError, match="the budget was 4096 tokens, now 99"):
        serve(lambda session: session.sample(problem(0, max_tokens=99)), run_dir=folder)


@pytest.mark.parametrize("control", ["fixed", "adaptive"])
def test_calibration_is_the_sessions_and_comes_back_with_its_journal(tmp_path, control):
    folder = str(tmp_path / "run")
    options = {
        "strategy": "atts",
        "draft_tokens": 12,
        "target_tokens": 12,
        "rate": 0.3,
        "calibration": "online",
        "control": control,
    }

    async def some(session, docs):
        for doc in docs:
            await session.sample(problem(doc))

    serve(lambda session: some(session, range(4)), run_dir=folder, **options)
    serve(lambda session: some(session, range(8)), run_dir=folder, **options)
    with open_run(folder) as run:
        decisions = list(run.decisions())
        assert [d.sequence for d in decisions] == list(range(1, len(decisions) + 1))
    made = {k: v for k, v in options.items() if k != "strategy"}
    policy = ATTS(ATTSOptions(turns=3, **made), RunInfo()).policy
    for decision in decisions:
        again = policy.decide(
            decision.nonconformity, decision.sample, decision.turn, decision.uniform
        )
        assert (again.takeover, again.bank_size) == (decision.takeover, decision.bank_size)
    assert max(decision.bank_size for decision in decisions) > 4
