"""What DeepConf leaves in the journal: enough to make its votes again, and little more."""

import msgspec
import numpy as np
import pytest
from atts_controls.target_only import TargetOnly
from atts_votes.confidence import score, token_confidences
from atts_votes.deepconf import DeepConf

from atts_harness.records import CallRecord
from atts_harness.strategy import Generation
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says
from atts_harness.transcript import Segment

CHUNKS = {"chunk_tokens": 9}
ONLINE = {"inner": "target-only", **CHUNKS, "group_tokens": 9, "warmup": 2, "keep": 50.0}
END = r"\boxed{7}"


def says(asked):
    """Chunks of nine tokens with twenty candidates each, unlike ones by the request's seed."""
    begun = len(asked.text.rpartition("<|assistant|>")[2])
    text = END if begun >= 27 else "abcdefghi"
    sure = 0.5 + asked.request.seed % 13 / 4
    step = {chr(ord("a") + n): -sure - n / 7 for n in range(20)}
    return Says(text, ending="length", top_logprobs=(step,) * 9)


def replies(played):
    """The recorded replies of each sample, in order of turns."""
    found = {}
    for call in sorted(played.calls, key=lambda call: call.key):
        found.setdefault(call.key.sample.repeat, []).append(call.reply)
    return found


@pytest.fixture(scope="module")
def online():
    return play(DeepConf, ONLINE, target=says, repeats=8, max_tokens=400)


def test_a_number_a_token_is_kept_of_its_candidates(online):
    assert {record.finish for record in online.records} == {"answer", "stopped"}
    for call in online.calls:
        assert call.reply.top_logprobs is None
        assert len(call.reply.confidences) == len(call.reply.ids)
    asked = [served.request.top_logprobs for served in online.target.served]
    assert set(asked) == {20}
    assert all(len(served.reply.top_logprobs[0]) == 20 for served in online.target.served)


def test_bar_scores_and_votes_can_be_made_again_from_what_is_recorded(online):
    size = ONLINE["group_tokens"]
    traces = {
        n: [c for reply in own for c in reply.confidences] for n, own in replies(online).items()
    }
    scores = {n: score(own, size) for n, own in traces.items()}
    bar = np.percentile([scores[0], scores[1]], 50)
    for n, record in enumerate(online.records):
        assert (record.finish == "stopped") == (n > 1 and record.text[-len(END) :] != END)
        votes = record.finish == "answer" and scores[n] >= bar
        assert record.weight == (scores[n] if votes else 0.0)
        assert record.notes.get("confidence") == (None if record.finish == "stopped" else scores[n])


def test_the_journal_is_little_larger_than_that_of_the_inner_strategy_alone(online):
    def size(calls: list[CallRecord]) -> float:
        tokens = sum(len(call.reply.ids) for call in calls)
        return sum(len(msgspec.msgpack.encode(call)) for call in calls) / tokens

    alone = play(TargetOnly, CHUNKS, target=says, repeats=8, max_tokens=400)
    # Beside the token's own log-probability, which the scripted engine tells with its candidates.
    assert size(online.calls) - size(alone.calls) <= 3 + 9 + 1


def test_a_strategy_that_looks_at_candidates_itself_keeps_them():
    options = {"inner": "glimprouter", "warmup": 1, "group_tokens": 9, "threshold": 0.4}
    probe = Says("a", ending="length", top_logprobs=({"a": -0.5, "b": -2.0},))
    step = Says(END, ending="length", top_logprobs=({"a": -1.0},) * 9)

    def draft(asked):
        return probe if asked.request.max_tokens == 1 else step

    played = play(DeepConf, options, draft=draft, target=lambda _: step, repeats=2)
    kept = {call.key.kind: call.reply for call in played.calls}
    assert len(kept["probe"].top_logprobs[0]) == 2
    assert kept["takeover"].confidences == (1000,) * 9
    assert all(len(record.notes["entropies"]) == 1 for record in played.records)


def test_candidates_that_an_inner_strategy_kept_say_the_same():
    segment = Segment("target", ())
    whole = Generation(segment, candidates=((-1.0, -2.0), (-0.25,)))
    assert token_confidences(whole) == [1500, 250]
    assert token_confidences(Generation(segment, confidences=(1500, 250))) == [1500, 250]
