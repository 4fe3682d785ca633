"""A session in a thread of its own answers callers of any loop, and closes whatever they do."""

import asyncio
import threading

import pytest

from atts_harness.errors import RunInterruptedError, SettingError
from atts_harness.journal.reader import open_run
from atts_harness.message import Message
from atts_harness.running.apart import SessionApart
from atts_harness.running.problems import Terms, make_problem
from atts_harness.settings import parse_settings


@pytest.fixture
def session(pair):
    made = []

    def make(**args):
        made.append(SessionApart(parse_settings({"strategy": "target-only", **args})))
        return made[-1]

    yield make
    for one in made:
        one.close()


def asks(session, doc=0, repeat=None):
    """Work for the session: one sample."""
    problem = make_problem("sums", doc, (Message("user", "2+2?"),), Terms(), session.settings)
    return lambda live: live.session.sample(problem, repeat=repeat)


def test_callers_of_several_loops_share_it(pair, session):
    one = session()

    async def several():
        return await asyncio.gather(*(asyncio.wrap_future(one.ask(asks(one))) for _ in range(3)))

    records = asyncio.run(several()) + asyncio.run(several())
    assert [record.id.repeat for record in records] == list(range(6))
    assert {record.text for record in records} == {r"Thus \boxed{42}."}
    assert len(pair.opened) == 1


def test_it_is_a_thread_of_its_own(session):
    async def where(live):
        return threading.current_thread().name

    assert session().ask(where).result(10) == "atts-session"


def test_closed_it_opens_anew_and_goes_on_in_its_run_directory(pair, session, tmp_path):
    one = session(run_dir=str(tmp_path / "run"))
    first = one.ask(asks(one, repeat=0)).result(10)
    one.close()
    one.close()
    calls = len(pair.target.served)
    again = one.ask(asks(one, repeat=0)).result(10)
    assert (again.text, len(pair.opened)) == (first.text, 2)
    assert len(pair.target.served) == calls
    one.close()
    with open_run(tmp_path / "run") as run:
        assert [record.text for record in run.samples()] == [first.text]


def test_what_cannot_be_opened_is_told_to_everybody(pair, session):
    async def broken(spec):
        raise SettingError("target: no such folder")

    pair.open = broken
    one = session()
    for _ in range(2):
        with pytest.raises(SettingError, match="no such folder"):
            one.ask(asks(one)).result(10)


def test_who_waits_when_it_is_closed_is_told(pair, session):
    one = session()
    begun = threading.Event()

    async def wait(live):
        begun.set()
        await asyncio.Event().wait()

    waiting = one.ask(wait)
    assert begun.wait(10)
    one.close()
    with pytest.raises((RunInterruptedError, asyncio.CancelledError)):
        asyncio.run(_result(waiting))


async def _result(future):
    return await asyncio.wrap_future(future)


def test_a_caller_that_goes_away_takes_its_work_along(session):
    one = session()
    begun, ended = threading.Event(), threading.Event()

    async def wait(live):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = one.ask(wait)
    assert begun.wait(10)
    waiting.cancel()
    assert ended.wait(10)
