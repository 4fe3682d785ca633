"""The order of a sample's record: kept and thrown away text reads as it was written."""

import asyncio
import dataclasses

import pytest

from atts_harness.strategy import Strategy, StrategyOptions
from atts_harness.testing.play import play
from atts_harness.transcript import inserted


class Base(Strategy):
    name = "writer"
    Options = StrategyOptions
    roles = ("draft", "target")
    scores = False

    def __init__(self, options, run):
        self.options = options

    async def write(self, ctx, role, kind, transcript, turn, attempt=0):
        author = ctx.draft if role == "draft" else ctx.target
        reply = await author.generate(
            transcript, kind=kind, turn=turn, max_tokens=50, attempt=attempt
        )
        return reply.segment


class Tries(Base):
    """Keeps a draft, asks twice for the next piece, keeps the second."""

    async def run(self, sample, ctx):
        transcript = sample.transcript
        for turn in (0, 1):
            transcript += await self.write(ctx, "draft", "draft", transcript, turn)
            transcript += inserted("|", turn=turn)
            first = await self.write(ctx, "target", "takeover", transcript, turn)
            second = await self.write(ctx, "target", "takeover", transcript, turn, attempt=1)
            ctx.discard(first)
            transcript += second
        return ctx.finish(transcript)


class Cuts(Base):
    """Throws a draft away and keeps a copy of what the target wrote."""

    async def run(self, sample, ctx):
        transcript = sample.transcript + await self.write(
            ctx, "draft", "draft", sample.transcript, 0
        )
        draft = await self.write(ctx, "draft", "draft", transcript, 1)
        ctx.discard(dataclasses.replace(draft))
        written = await self.write(ctx, "target", "takeover", transcript, 1, attempt=2)
        return ctx.finish(transcript + dataclasses.replace(written))


class Branches(Base):
    """Asks for two pieces at once; the one asked for first comes last, and is kept."""

    async def run(self, sample, ctx):
        slow, quick = asyncio.Event(), sample.transcript

        async def first():
            piece = await self.write(ctx, "draft", "draft", quick, 0)
            await slow.wait()
            return piece

        async def second():
            piece = await self.write(ctx, "target", "probe", quick, 0)
            ctx.discard(piece)
            slow.set()

        kept, _ = await asyncio.gather(first(), second())
        return ctx.finish(sample.transcript + kept)


@pytest.mark.parametrize(
    ("strategy", "trace", "attempts"),
    [
        (
            Tries,
            [
                *("draft 0: a", "insert 0: |", "(takeover 0: A)", "takeover 0: B"),
                *("draft 1: b", "insert 1: |", "(takeover 1: C)", "takeover 1: D"),
            ],
            [0, 0, 0, 1] * 2,
        ),
        (Cuts, ["draft 0: a", "(draft 1: b)", "takeover 1: A"], [0, 0, 2]),
        (Branches, ["draft 0: a", "(probe 0: A)"], [0, 0]),
    ],
)
def test_a_turn_reads_as_it_was_asked_for(strategy, trace, attempts):
    played = play(strategy, draft=["a", "b"], target=["A", "B", "C", "D"])
    assert played.trace() == trace
    assert [segment.attempt for segment in played.record.segments] == attempts
    kept = [segment.text for segment in played.record.segments if segment.kept]
    assert "".join(kept) == played.record.text
