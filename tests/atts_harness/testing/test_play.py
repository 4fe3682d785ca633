"""What the author of a strategy learns from `play`: also whether a resumed run would go the same
way."""

import itertools

import pytest

from atts_harness.atts import ATTS
from atts_harness.errors import BadRequestError, JournalMismatchError
from atts_harness.strategy import Settled, Strategy, StrategyOptions, Verdict
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says, ScriptError

BEGINNING = Says("First, ", ending="length")


class Moody(Strategy):
    """Does something else each time it runs: what no strategy may do."""

    name = "moody"
    Options = StrategyOptions
    times = itertools.count()
    does = "longer"

    def __init__(self, options, run):
        self.options = options

    async def run(self, sample, ctx):
        time = next(self.times)
        most = 8 + (time if self.does == "longer" else 0)
        reply = await ctx.draft.generate(sample.transcript, kind="draft", turn=0, max_tokens=most)
        takeover = time > 0 if self.does == "decides" else True
        if ctx.decide(Settled(Verdict(takeover=takeover)), None, turn=0).takeover:
            turn = time if self.does == "further" else 1
            written = await ctx.target.generate(
                sample.transcript, kind="takeover", turn=turn, max_tokens=8
            )
            return ctx.finish(sample.transcript + written.segment)
        return ctx.finish(sample.transcript + reply.segment)


def played(does):
    class Fresh(Moody):
        times = itertools.count()

    Fresh.does = does
    return play(Fresh, draft=["a"], target=["b"])


def test_a_strategy_of_ours_goes_the_same_way_when_it_is_resumed():
    first = play(
        ATTS,
        {"on_reject": "replace", "rate": 0.5},
        draft=[BEGINNING, BEGINNING, r"\boxed{4}"],
        target=["Anew."],
        scores=[0.3, BadRequestError("no score"), 0.2],
        seed=4,
    )
    again = first.resumed()
    assert again.trace() == first.trace()
    assert again.took_over() == first.took_over()
    assert (again.draft.served, again.target.served) == ([], [])


def test_another_request_is_named():
    with pytest.raises(JournalMismatchError, match="max_tokens"):
        played("longer").resumed()


def test_a_call_that_was_not_made_before_is_named():
    with pytest.raises(ScriptError, match="target: the resumed strategy makes a call"):
        played("further").resumed()


def test_a_decision_comes_back_as_it_was_recorded():
    first = played("decides")
    assert first.took_over() == first.resumed().took_over() == [False]
