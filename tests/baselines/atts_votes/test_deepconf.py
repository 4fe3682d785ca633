"""DeepConf: a warm-up sets the bar, traces below it are given up, and the others vote."""

import numpy as np
import pytest
from atts_votes.confidence import ConfidenceWatch, Stopped
from atts_votes.deepconf import DeepConf
from atts_votes.vote import Ballot

from atts_harness.backend import Capabilities
from atts_harness.errors import SettingError
from atts_harness.records import SampleId
from atts_harness.running.opening import _check_abilities
from atts_harness.running.seeds import call_seed
from atts_harness.settings import parse_settings
from atts_harness.strategy import Generation, Problem, RunInfo
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says, ScriptedBackend
from atts_harness.transcript import Prompt, Transcript, written

PROBLEM = Problem("t", 0, Prompt(()), kind="maths")
CHUNKS = {"inner": "target-only", "chunk_tokens": 9, "group_tokens": 9}
ONLINE = CHUNKS | {"warmup": 2, "keep": 50.0}


def sure(*confidences):
    """Candidates of tokens with these confidences."""
    return tuple({"a": -c, "b": -c} for c in confidences)


def trace(*chunks):
    """Confidence of every token, chunk by chunk of nine; the last one is the answer."""
    return [*chunks, 9.0]


def says(traces, role="target", kind="takeover"):
    """Each sample writes its own trace; its first call is known by its seed, the others by it."""
    ids = [SampleId("played", 0, n) for n in range(len(traces))]
    seeds = {call_seed(0, id_, role, kind, 0): n for n, id_ in enumerate(ids)}

    def reply(asked):
        text = asked.text.rpartition("<|assistant|>")[2]
        n = int(text[0]) if text else seeds[asked.request.seed]
        turn = len(text) // 9
        words = r"\boxed{7}" if turn == len(traces[n]) - 1 else f"{n}bcdefghi"
        return Says(words, ending="length", top_logprobs=sure(*[traces[n][turn]] * 9))

    return reply


def online(traces, **options):
    given = ONLINE | options
    return play(
        DeepConf, given, target=says(traces), repeats=len(traces), max_tokens=400,
    )  # fmt: skip


def made(**options):
    kind = DeepConf.made_for(CHUNKS)
    return kind(kind.Options(**CHUNKS, **options).checked(), RunInfo())


def ends(played):
    return [record.finish for record in played.records]


def test_a_trace_is_given_up_at_the_call_after_a_group_below_the_bar():
    # Warm-up scores 5 and 3: the bar that half of them reach is 4.
    played = online([trace(5.0), trace(3.0), trace(3.9), trace(4.0)])
    assert ends(played) == ["answer", "answer", "stopped", "answer"]
    stopped = played.records[2]
    assert stopped.calls["target/takeover"].calls == 1  # it cost what it cost
    assert (stopped.failed, stopped.truncated, stopped.weight) == (None, False, 0.0)
    assert stopped.text == "2bcdefghi"


def test_exactly_at_the_bar_is_not_below_it():
    played = online([trace(5.0), trace(3.0), trace(4.0), trace(3.999)])
    assert ends(played)[2:] == ["answer", "stopped"]
    assert played.records[2].weight == 4.0


def test_a_group_that_is_not_full_stops_nothing_and_votes_only_if_it_reaches_the_bar():
    # A group of 40 tokens is never full: traces end, and their mean decides on their vote.
    played = online([trace(5.0), trace(3.0), trace(1.0), trace(6.0)], group_tokens=40)
    assert set(ends(played)) == {"answer"}
    scores = [record.notes["confidence"] for record in played.records]
    bar = np.percentile(scores[:2], 50)
    assert [r.weight for r in played.records] == [s if s >= bar else 0.0 for s in scores]
    assert [r.weight > 0 for r in played.records] == [True, False, False, True]


def test_traces_of_the_warm_up_are_never_stopped_and_vote_if_they_reach_the_bar():
    played = online([trace(5.0), trace(3.0), trace(9.0)])
    assert [r.weight for r in played.records] == [5.0, 0.0, 9.0]


def test_a_majority_counts_heads():
    played = online([trace(5.0), trace(3.0), trace(9.0)], voting="majority")
    assert [r.weight for r in played.records] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("keep", [10.0, 50.0, 90.0, 100.0])
def test_the_bar_is_the_percentile_of_the_warm_ups_scores(keep):
    scores = [3.25, 1.5, 8.0, 2.0, 2.5]
    ordered = sorted(scores)
    place = (100 - keep) / 100 * (len(scores) - 1)
    low = int(place)
    high = min(low + 1, len(scores) - 1)
    expected = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    cast = {n: Ballot(None, s) for n, s in enumerate(scores)}  # online, answers do not matter
    assert made(keep=keep).bar(cast) == pytest.approx(expected)


def test_offline_draws_all_and_the_best_by_their_score_vote():
    traces = [trace(5.0), trace(3.0), trace(8.0), trace(4.0)]
    given = CHUNKS | {"mode": "offline", "keep": 50.0}
    played = play(DeepConf, given, target=says(traces), repeats=4, max_tokens=400)
    assert set(ends(played)) == {"answer"}
    assert [r.weight for r in played.records] == [5.0, 0.0, 8.0, 0.0]  # the bar is 4.5
    tail = play(
        DeepConf, given | {"trace_score": "tail"}, target=says(traces), repeats=4, max_tokens=400,
    )  # fmt: skip
    assert [r.weight for r in tail.records] == [9.0] * 4


def test_offline_the_bar_is_of_traces_with_an_answer():
    vote = made(mode="offline", keep=10.0)
    cast = {0: Ballot("1", 2.0), 1: Ballot(None, 9.0), 2: Ballot("2", 1.0)}
    assert vote.bar(cast) == pytest.approx(1.9)
    assert vote.weight(PROBLEM, cast[0], {}, cast) == 2.0
    assert vote.weight(PROBLEM, cast[2], {}, cast) == 0.0
    assert vote.bar({0: Ballot(None, 1.0)}) is None


def test_what_counts_is_what_stands():
    class Ctx:
        draft = target = None

    tokenizer = ScriptedBackend().tokenizer
    watch = ConfidenceWatch(Ctx(), 4, 2.0)
    kept = written(tokenizer, tokenizer.encode("abcd"), author="draft", ending="length", turn=0)
    lost = written(tokenizer, tokenizer.encode("efgh"), author="draft", ending="length", turn=1)
    watch.saw(Generation(kept, candidates=((-3.0,),) * 4))
    watch.saw(Generation(lost, candidates=((-1.0,),) * 4))
    stands = Transcript(PROBLEM.prompt) + kept
    assert watch.of(stands) == [3000] * 4
    watch.check(stands)  # what was thrown away is not held against it
    with pytest.raises(Stopped):
        watch.check(stands + lost)


def test_an_inner_strategy_with_two_models_is_watched_too():
    given = {"inner": "atts", "warmup": 1, "keep": 100.0, "group_tokens": 9}
    given |= {"draft_tokens": 9, "rate": 0.0, "control": "fixed"}
    drafts = says([trace(5.0), trace(1.0), trace(6.0)], "draft", "draft")
    played = play(DeepConf, given, draft=drafts, scores=0.5, repeats=3)
    assert ends(played) == ["answer", "stopped", "answer"]
    assert [r.weight for r in played.records] == [5.0, 0.0, 6.0]
    assert {c.key.kind for c in played.calls} == {"draft", "score"}


def test_fewer_repeats_than_warm_ups_are_refused():
    with pytest.raises(SettingError, match=r"needs 17 at least \(warmup=16\)") as caught:
        play(DeepConf, CHUNKS, repeats=16)
    assert "\n" not in str(caught.value)


def test_online_it_is_the_lowest_group_that_stops():
    with pytest.raises(SettingError, match=r"trace_score=tail: .*mode=offline"):
        made(trace_score="tail")


def test_a_server_without_candidates_is_refused_before_the_run():
    settings = parse_settings({"strategy": "deepconf", "inner": "target-only"})
    poor = ScriptedBackend(capabilities=Capabilities(top_logprobs=5))
    with pytest.raises(
        SettingError, match="target: strategy deepconf needs the 20 likeliest"
    ) as no:
        _check_abilities(settings.strategy, {"target": poor})
    assert "at most 5" in str(no.value)
    assert "\n" not in str(no.value)
    _check_abilities(settings.strategy, {"target": ScriptedBackend()})
