"""A strategy that breaks its contract is refused at once: in memory, in `play` and on disk."""

import asyncio
import contextlib

import pytest

from atts_harness.errors import SettingError, StrategyError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.opening import RunModels
from atts_harness.settings import RunOptions, Settings
from atts_harness.strategy import Score, Settled, Strategy, StrategyOptions, Verdict
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_runs import make_groups, simulate
from atts_harness.testing.play import play

YES = Settled(Verdict(takeover=True))


class Base(Strategy):
    name = "careless"
    Options = StrategyOptions

    def __init__(self, options=None, run=None):
        self.options = options or StrategyOptions()


def generate(ctx, turn=0, attempt=0, role="draft", kind="draft"):
    client = ctx.draft if role == "draft" else ctx.target
    return client.generate(
        ctx.sample.transcript, kind=kind, turn=turn, max_tokens=4, attempt=attempt
    )


class TwoDrafts(Base):
    async def run(self, sample, ctx):
        await generate(ctx)
        await generate(ctx)
        return ctx.finish(sample.transcript, "turns")


class AtOnce(Base):
    async def run(self, sample, ctx):
        await asyncio.gather(generate(ctx, turn=2), generate(ctx, turn=2))
        return ctx.finish(sample.transcript, "turns")


class TwoScores(Base):
    async def run(self, sample, ctx):
        segment = (await generate(ctx)).segment
        await ctx.target.score(sample.transcript, segment, turn=0)
        await ctx.target.score(sample.transcript, segment, turn=0)
        return ctx.finish(sample.transcript, "turns")


class Other(Base):
    """Asks for something else under the same name, which no hash would catch in memory."""

    async def run(self, sample, ctx):
        first = (await generate(ctx, role="target", kind="probe", attempt=1)).segment
        await ctx.target.generate(
            sample.transcript + first, kind="probe", turn=0, max_tokens=9, attempt=1
        )
        return ctx.finish(sample.transcript, "turns")


class TwoDecisions(Base):
    async def run(self, sample, ctx):
        ctx.decide(YES, None, 3)
        ctx.decide(YES, Score((-1.0,)), 3)
        return ctx.finish(sample.transcript, "turns")


class DecidedAndTaken(Base):
    async def run(self, sample, ctx):
        ctx.decide(YES, None, 1)
        ctx.take_over(1, "empty-draft")
        return ctx.finish(sample.transcript, "turns")


class TwoGatherings(Base):
    grouped = True

    async def run(self, sample, ctx):
        await ctx.gather("scores", 1)
        await ctx.gather("scores", 2)
        return ctx.finish(sample.transcript, "turns")


def in_memory(strategy, folder):
    simulate(make_groups(1, 1, strategy()), MockEngine())


def played(strategy, folder):
    play(strategy, draft=lambda _: "aaaa", target=lambda _: "bbbb", scores=lambda *_: 1.0)


def on_disk(strategy, folder):
    groups = make_groups(1, 1, strategy())
    backend = MockBackend(MockEngine())
    with contextlib.closing(RunDirectory(folder)) as directory:
        journal = directory.journal(RunRecord(), planned(groups))
        try:
            asyncio.run(
                run_groups(
                    groups,
                    {"draft": backend, "target": backend},
                    RunOptions(metrics_interval=0),
                    journal,
                )
            )
        finally:
            journal.close()


@pytest.mark.parametrize("place", [in_memory, played, on_disk])
@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (TwoDrafts, r"draft/draft of turn 0 twice in sample \w+/0/0: .* attempt=1"),
        (AtOnce, r"draft/draft of turn 2 twice .* attempt=1"),
        (TwoScores, r"target/score of turn 0 twice .* attempt=1"),
        (Other, r"target/probe of turn 0 twice .* attempt=2"),
        (TwoDecisions, "decides turn 3 twice"),
        (DecidedAndTaken, "decides turn 1 twice"),
        (TwoGatherings, "sample 0 comes to 'scores' twice"),
    ],
)
def test_what_is_done_twice_is_refused_at_once_with_the_remedy(strategy, said, place, tmp_path):
    with pytest.raises(StrategyError, match=said) as raised:
        place(strategy, tmp_path)
    assert "\n" not in str(raised.value)


class Careful(Base):
    async def run(self, sample, ctx):
        for attempt in range(2):
            await generate(ctx, attempt=attempt)
        return ctx.finish(sample.transcript, "turns")


@pytest.mark.parametrize("place", [in_memory, played, on_disk])
def test_attempts_tell_calls_apart_and_a_resumed_sample_may_ask_again(place, tmp_path):
    place(Careful, tmp_path)
    place(Careful, tmp_path)


class Either(StrategyOptions, frozen=True, kw_only=True):
    some: bool = False
    others: bool = False

    def checked(self):
        if self.some and self.others:
            raise SettingError("some and others exclude each other: drop one")
        return self


def test_options_that_exclude_each_other_make_no_strategy():
    class Careful(Base):
        Options = Either

    models = RunModels(Settings(RunOptions(), Careful, explicit={"some": True}), {})
    assert models.strategy({}, {}).options == Either(some=True)
    with pytest.raises(SettingError, match="exclude each other"):
        models.strategy({"others": True}, {})
