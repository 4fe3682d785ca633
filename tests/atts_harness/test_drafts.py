"""Drafting ahead: the texts and decisions of the plain order, sooner."""

import asyncio
import contextlib

import pytest

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.drafts import Drafts
from atts_harness.errors import MalformedReplyError, SettingError
from atts_harness.journal.contract import MemoryJournal
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.journal.reader import open_run
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.seeds import call_seed
from atts_harness.settings import RunOptions, parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.deployment import place
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import simulate
from atts_harness.strategy import RunInfo
from atts_harness.testing.mock_engine import MockBackend, MockEngine, full_length
from atts_harness.testing.mock_latency import fixed, lognormal
from atts_harness.testing.mock_runs import make_groups
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says
from atts_harness.transcript import Message, Prompt, Transcript

GOOD, BAD = 0.65, 0.75
SMALL = {"turns": 6, "draft_tokens": 16, "target_tokens": 16}


def cut(text, delay=0.0):
    return Says(text, ending="length", delay=delay)


@pytest.fixture
def bank(tmp_path):
    path = write_bank(bank_of((n, 0, n / 10) for n in range(1, 11)), tmp_path / "bank.json")
    return {"bank": str(path), "coverage": "marginal", "ties": "conservative", "rate": 0.4}


@pytest.fixture
def ahead(bank):
    return bank | {"draft_ahead": True}


def test_a_kept_turn_is_followed_by_the_draft_that_was_written_ahead(ahead):
    played = play(ATTS, ahead, draft=[cut("one, "), "two."], scores=[GOOD, GOOD])
    assert played.trace() == ["draft 0: one, ", "draft 1: two."]
    assert sorted(played.called()) == [
        "draft/ahead 1",
        "draft/draft 0",
        "target/score 0",
        "target/score 1",
    ]
    assert played.record.notes["ahead"] == {"kept": 1, "thrown away": 0, "cancelled": 0}


def test_it_asks_what_the_plain_order_asks(bank, ahead):
    def asked(options):
        played = play(ATTS, options, draft=[cut("one, "), "two."], scores=[GOOD, GOOD])
        return [served.request for served in played.draft.served]

    assert asked(ahead) == asked(bank)


def by_context(**replies):
    """A draft that answers by how its context ends: `d0=...` behind "d0 "."""

    def reply(asked):
        return next((r for end, r in replies.items() if asked.text.endswith(f"{end} ")), cut("d0 "))

    return reply


def test_a_takeover_throws_away_what_was_begun_ahead(ahead):
    draft = by_context(d0=cut("ahead"), t0="d1")
    played = play(ATTS, ahead, draft=draft, target=[cut("t0 ")], scores=[BAD, GOOD])
    assert played.trace() == ["draft 0: d0 ", "takeover 0: t0 ", "draft 1: d1"]
    assert played.draft.served[-1].request.seed == call_seed(
        0, played.record.id, "draft", "draft", 1
    )
    counts = played.record.notes["ahead"]
    assert (counts["kept"], counts["thrown away"] + counts["cancelled"]) == (0, 1)


@pytest.mark.parametrize(("slow", "what"), [("draft", "cancelled"), ("target", "thrown away")])
def test_a_takeover_cancels_what_is_still_being_written(bank, slow, what):
    """In the engine, too: nothing of it is running once the target writes."""
    engines = {
        role: MockEngine(latency=fixed(10.0 if role == slow else 1.0), writer=full_length(), seed=n)
        for n, role in enumerate(("draft", "target"))
    }
    always = {**bank, **SMALL, "rate": 1.0, "draft_ahead": True, "turns": 2}
    groups = make_groups(1, 1, ATTS(ATTSOptions(**always), RunInfo()))
    running = []

    class Watched(MockBackend):
        async def generate(self, request):
            running.append(engines["draft"].running)
            return await super().generate(request)

    async def work():
        backends = {"draft": MockBackend(engines["draft"]), "target": Watched(engines["target"])}
        options = RunOptions(metrics_interval=0)
        return await run_groups(groups, backends, options, MemoryJournal())

    (record,), _ = run_simulated(work())
    assert record.notes["ahead"][what] == 1
    assert running == [0, 0]


def test_nothing_is_written_ahead_of_an_end(ahead):
    closing = play(ATTS, ahead, draft=["the end."], scores=[GOOD])
    assert closing.called() == ["draft/draft 0", "target/score 0"]
    last_turn = play(ATTS, ahead | {"turns": 1}, draft=[cut("d")], scores=[GOOD])
    assert last_turn.called() == ["draft/draft 0", "target/score 0"]


def test_a_blank_line_stands_before_a_draft_ahead_too(ahead):
    played = play(
        ATTS, ahead | {"paper_join": True}, draft=[cut("one"), "two"], scores=[GOOD, GOOD]
    )  # fmt: skip
    assert played.record.text == "one\n\ntwo"
    assert played.draft.tokenizer.decode(played.draft.served[1].request.ids).endswith("one\n\n")


def test_an_ahead_draft_that_fails_fails_only_the_sample_that_needs_it(ahead):
    broken = by_context(d0=MalformedReplyError("no"), t0="d1")
    needed = play(ATTS, ahead, draft=broken, scores=[GOOD])
    assert "MalformedReplyError" in needed.record.failed
    spared = play(ATTS, ahead, draft=broken, target=[cut("t0 ")], scores=[BAD, GOOD])
    assert (spared.record.failed, spared.record.text) == (None, "d0 t0 d1")


def strategy(options):
    return ATTS(ATTSOptions(**options, **SMALL), RunInfo())


def told(records):
    """What has to be equal: texts, segments, endings, decisions."""
    return [
        (
            record.id,
            record.text,
            record.finish,
            record.kept_tokens,
            [(s.author, s.kind, s.turn, s.text, s.kept) for s in record.segments],
            [(d.turn, d.takeover, d.nonconformity, d.p_value) for d in record.decisions],
        )
        for record in records
    ]


def mock_run(options, seconds=0.0, journal=None):
    engines = {
        "draft": MockEngine(latency=lognormal(seconds, 0.5), seed=1),
        "target": MockEngine(latency=lognormal(seconds, 0.5), seed=2),
    }
    groups = make_groups(4, 4, strategy(options))

    async def work():
        backends = {role: MockBackend(engine) for role, engine in engines.items()}
        options = RunOptions(metrics_interval=0)
        return await run_groups(groups, backends, options, journal or MemoryJournal())

    return groups, work


@pytest.mark.parametrize("on_reject", ["continue", "replace"])
def test_texts_and_decisions_are_those_of_the_plain_order(bank, ahead, on_reject):
    more = {"on_reject": on_reject, "rate": 0.3}
    records = []
    for options in (bank | more, ahead | more):
        _, work = mock_run(options, seconds=0.01)
        made, _ = run_simulated(work())
        records.append(made)
    plain, quick = records
    assert told(quick) == told(plain)
    counts = [record.notes["ahead"] for record in quick]
    assert sum(c["kept"] for c in counts) > 10
    assert sum(c["thrown away"] + c["cancelled"] for c in counts) > 0


def test_a_run_that_is_cut_off_again_and_again_ends_like_one_that_was_not(bank, ahead, tmp_path):
    _, work = mock_run(bank)
    plain = asyncio.run(work())

    def session(limit):
        groups, work = mock_run(ahead, seconds=0.002)
        with contextlib.closing(RunDirectory(tmp_path / "run")) as directory:
            journal = directory.journal(RunRecord(strategy="atts"), planned(groups))
            try:
                _, work = mock_run(ahead, seconds=0.002, journal=journal)
                return asyncio.run(asyncio.wait_for(work(), limit))
            except TimeoutError:
                return None
            finally:
                journal.close()

    for _ in range(4):
        session(0.03)
    assert told(session(30)) == told(plain)
    with open_run(tmp_path / "run") as run:
        keys = [call.key for call in run.calls()]
    assert len(keys) == len(set(keys))


def test_one_engine_that_takes_one_call_at_a_time_is_refused(bank):
    with pytest.raises(SettingError, match="raise engine_concurrency"):
        ATTS(ATTSOptions(**bank, draft_ahead=True), RunInfo(one_at_a_time=True))
    assert ATTS(ATTSOptions(**bank), RunInfo(one_at_a_time=True)).options.draft_ahead is False


def test_in_simulated_time_it_makes_a_run_shorter():
    models = {
        "draft": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        "target": "Qwen/QwQ-32B",
    }
    deployment = place(
        {role: shape_of(name) for role, name in models.items()},
        gpu_of("h100"),
        {"draft": 1, "target": 2},
    )

    def makespan(**given):
        settings = parse_settings(
            {"strategy": "atts", "backend": "simulated", "rate": 0.1, **models, **given}
        )
        return simulate(settings, published_trace(questions=4, repeats=1), deployment, repeats=1)

    plain, quick = makespan(), makespan(draft_ahead=True)
    assert quick.makespan < plain.makespan
    assert [r.kept_tokens for r in quick.records] == [r.kept_tokens for r in plain.records]


def test_a_sample_that_is_cancelled_while_it_throws_away_is_cancelled():
    """A call may take a moment to end in the engine; the sample is cancelled all the same."""

    class Slow:
        async def generate(self, *args, **given):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)

    class Ctx:
        draft = Slow()

        def note(self, name, value):
            pass

        def room(self, transcript, want=None):
            return 8

        def ended(self, transcript):
            return None

    async def work():
        drafts = Drafts(Ctx(), ATTSOptions(turns=3), ahead=True)
        drafts.begin_next(Transcript(Prompt((Message("user", "Q"),))), 1)
        await asyncio.sleep(0.001)
        leaving = asyncio.create_task(drafts.throw_away())
        await asyncio.sleep(0.001)
        leaving.cancel()
        await asyncio.wait([leaving])
        return leaving.cancelled()

    cancelled, _ = run_simulated(work())
    assert cancelled
