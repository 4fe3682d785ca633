"""Sessions that share engines."""

import asyncio
import dataclasses

import pytest

from atts_harness import plugins
from atts_harness.errors import BackendUnavailableError, EngineGoneError, SettingError
from atts_harness.journal.reader import open_run
from atts_harness.ledger.sums import Distribution
from atts_harness.running.engine import Engine
from atts_harness.running.harness import Harness
from atts_harness.running.house import House
from atts_harness.running.observers import Observers
from atts_harness.running.slots import Slots
from atts_harness.settings import parse_settings
from atts_harness.simulation.clock import run_simulated
from atts_harness.strategy import Problem
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.transcript import Message, Prompt

pytestmark = pytest.mark.usefixtures("mock_installed")

MOCK = {"backend": "mock", "draft": "d", "target": "t", "mock_seconds": 0.01}
TURNS = {**MOCK, "strategy": "mock-turns", "turns": 3, "ending": 0, "metrics_interval": 0}


def problem(doc=0):
    prompt = Prompt((Message("user", f"Question {doc}?"),))
    return Problem(task="mock", doc=doc, prompt=prompt, prompt_hash=str(doc), max_tokens=4096)


def in_house(work, folder=None):
    async def all_of_it():
        async with House(folder) as house:
            return await work(house)

    return asyncio.run(all_of_it())


def test_sessions_share_engines_and_their_slots():
    async def work(house):
        one = parse_settings({**TURNS, "draft_concurrency": 1})
        other = parse_settings({**TURNS, "draft_concurrency": 1, "rate": 1.0})
        only = parse_settings({**MOCK, "strategy": "target-only"})
        most = 0
        async with (
            house.session(one) as (first, models),
            house.session(other) as (second, _),
            house.session(only) as (third, alone),
        ):
            assert len(house.engines) == 2
            assert alone.backends["target"] is models.backends["target"]
            slots = next(e for e in house.engines if e.name == "draft").slots

            async def watch():
                nonlocal most
                while True:
                    most = max(most, slots.in_use)
                    await asyncio.sleep(0.002)

            watching = asyncio.create_task(watch())
            asked = [s.sample(problem(n)) for n in range(3) for s in (first, second, third)]
            records = await asyncio.gather(*asked)
            watching.cancel()
        return most, records

    most, records = in_house(work)
    assert most == 1
    assert {record.strategy for record in records} == {"mock-turns", "target-only"}


def test_a_session_of_a_house_makes_the_samples_of_one_alone():
    async def shared(house):
        async with house.session(parse_settings(TURNS)) as (session, _):
            return (await session.sample(problem())).text

    async def alone():
        async with Harness.serving(parse_settings(TURNS)) as session:
            return (await session.sample(problem())).text

    assert in_house(shared) == asyncio.run(alone())


def test_settings_with_other_limits_are_told_that_they_share_an_engine(caplog):
    async def work(house):
        await house.models(parse_settings(TURNS))
        await house.models(parse_settings({**TURNS, "rate": 0.9}))
        assert not caplog.records
        await house.models(parse_settings({**TURNS, "draft_concurrency": 3}))

    in_house(work)
    assert "settings with other limits of calls in flight share this engine" in caplog.text


def test_closing_one_session_leaves_the_engines_to_the_others():
    async def work(house):
        async with house.session(parse_settings(TURNS)) as (stays, _):
            async with house.session(parse_settings({**TURNS, "rate": 0.9})) as (goes, _):
                await goes.sample(problem())
            return await stays.sample(problem(1))

    assert in_house(work).failed is None


def test_each_session_is_a_run_of_its_own_and_the_log_is_the_houses(tmp_path):
    async def work(house):
        for name, rate in (("low", 0.1), ("high", 0.9)):
            settings = parse_settings({**TURNS, "rate": rate, "run_dir": str(tmp_path / name)})
            async with house.session(settings) as (session, _):
                await session.sample(problem())

    in_house(work, tmp_path)
    for name, rate in (("low", 0.1), ("high", 0.9)):
        with open_run(tmp_path / name) as run:
            assert run.record.options["rate"] == rate
            assert [s.state for s in run.sessions()] == ["finished"]
        assert not (tmp_path / name / "run.log").exists()
    assert (tmp_path / "run.log").exists()


def test_a_model_that_extracts_answers_is_refused():
    async def work(house):
        await house.models(parse_settings({**TURNS, "extractor": "llm"}))

    with pytest.raises(SettingError, match="leave extractor out"):
        in_house(work)


# A vote writes by the strategy that it is over; what votes need of engines and samples varies.
WRITES = [name for name, s in sorted(plugins.strategies().items()) if not s.value.votes]


@pytest.mark.parametrize("name", [*WRITES, "self-consistency", "mock-turns"])
def test_who_watches_is_told_what_stands_and_it_only_grows(name):
    texts = {}
    settings = {**MOCK, "mock_seconds": 0, "strategy": name, "max_gen_toks": 400}

    def stands(sample, transcript):
        texts.setdefault(sample, []).append(transcript.text)

    async def work(house):
        async with house.session(parse_settings(settings), Observers(transcript=[stands])) as open_:
            made = open_.models.strategy({}, {"task": "mock"})
            asked = dataclasses.replace(problem(), kind="maths", max_tokens=400)
            return await open_.session.group(asked, samples=4, strategy=made)

    for record in in_house(work):
        seen = texts.get(record.id, [])
        assert seen or record.finish == "not-drawn"
        for before, after in zip(seen, [*seen[1:], record.text], strict=True):
            assert after.startswith(before)


def test_an_engine_that_lasts_is_waited_for_again_and_again():
    async def work():
        class Gone(MockBackend):
            there = False

            async def ping(self):
                if not self.there:
                    raise BackendUnavailableError("gone")

        backend = Gone(MockEngine())
        loop = asyncio.get_running_loop()
        clock = type("Now", (), {"now": staticmethod(loop.time)})()
        slots = Slots({"draft": 2, "score": 2, "takeover": 2})
        engine = Engine("target", backend, slots, clock, patience=30.0, lasting=True)
        engine.trip("gone")
        with pytest.raises(EngineGoneError):
            await waits(engine, slots)
        assert engine.gone
        with pytest.raises(EngineGoneError):
            await waits(engine, slots)
        late = asyncio.create_task(waits(engine, slots, answers=True))
        await late
        assert not engine.gone
        await engine.aclose()

    async def waits(engine, slots, *, answers=False):
        while True:
            await slots.acquire("draft")
            try:
                if answers:
                    engine.replied()
                    return
                engine.failed(BackendUnavailableError("gone"))
            finally:
                slots.release("draft")

    run_simulated(work())


def test_percentiles_of_many_values_are_of_a_random_choice_of_them():
    kept = Distribution(1000)
    for value in range(20_000):
        kept.add(float(value))
    assert len(kept._values) == 1000
    told = kept.summary()
    assert told["count"] == 20_000
    assert told["mean"] == pytest.approx(10_000, rel=0.1)
    assert told["p50"] == pytest.approx(10_000, rel=0.1)
