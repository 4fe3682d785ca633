"""Every vote against brute force: what is drawn, what is given up, and whose answer wins."""

import random
from collections import Counter
from fractions import Fraction
from math import comb

import pytest
from atts_votes.adaptive_consistency import AdaptiveConsistency
from atts_votes.deepconf import DeepConf
from atts_votes.esc import ESC
from atts_votes.self_consistency import SelfConsistency

from atts_harness.analysis.statistics import vote_share
from atts_harness.records import SampleId
from atts_harness.running.seeds import call_seed
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says

CHUNK = 9
"""Tokens of a call of a scripted trace; groups are longer or shorter, so that they lie across."""


def ballots(seed, count):
    """Answers of one digit, and None where a sample has none."""
    rng = random.Random(seed)
    return [rng.choice([None, *"1122345"[: rng.randint(1, 7)]]) for _ in range(count)]


def texts(answers):
    return ["No idea." if a is None else rf"\boxed{{{a}}}" for a in answers]


def winners(weights):
    """The heaviest answers; none where nobody votes."""
    top = max(weights.values(), default=0)
    return {answer for answer, weight in weights.items() if weight == top > 0}


def counted(played, answers):
    """By answer the weight that the records give it; what has none votes for nothing."""
    votes = Counter()
    for record in played.records:
        answer = answers[record.id.repeat]
        if record.weight and answer is not None:
            votes[answer] += record.weight
    return votes


def drawn(played):
    return [record.id.repeat for record in played.records if record.finish != "not-drawn"]


def leading(a, b):
    """P(p > 1/2) for p ~ Beta(a + 1, b + 1), by integrating the expanded polynomial."""

    def integral(low):
        return sum(
            Fraction((-1) ** k * comb(b, k), a + k + 1) * (1 - Fraction(low) ** (a + k + 1))
            for k in range(b + 1)
        )

    return integral(Fraction(1, 2)) / integral(0)


@pytest.mark.parametrize("seed", range(30))
def test_adaptive_consistency(seed):
    answers = ballots(seed, 9)
    expected = 0
    while expected < 9:
        expected += 1
        votes = sorted(Counter(filter(None, answers[:expected])).values(), reverse=True)
        if votes and leading(*[*votes, 0][:2]) >= Fraction(19, 20):
            break
    played = play(AdaptiveConsistency, {"inner": "target-only"}, target=texts(answers), repeats=9)
    assert drawn(played) == list(range(expected))
    assert counted(played, answers) == Counter(filter(None, answers[:expected]))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("window", [2, 3, 4])
def test_esc(seed, window):
    answers = ballots(seed, 9)
    last, winning = 0, set()
    while last + window <= 9:
        asked = answers[last : last + window]
        last += window
        if set(asked) == {asked[0]} != {None}:
            winning = {asked[0]}
            break
    winning = winning or winners(Counter(filter(None, answers[:last])))
    options = {"inner": "target-only", "window": window}
    played = play(ESC, options, target=texts(answers), repeats=9)
    assert drawn(played) == list(range(last))
    assert winners(counted(played, answers)) == winning


@pytest.mark.parametrize("seed", range(10))
def test_self_consistency(seed):
    answers = ballots(seed, 7)
    played = play(SelfConsistency, {"inner": "target-only"}, target=texts(answers), repeats=7)
    assert drawn(played) == list(range(7))
    assert counted(played, answers) == Counter(filter(None, answers))


@pytest.mark.parametrize("seed", range(40))
def test_the_share_of_a_vote_is_the_chance_of_a_lot_among_the_heaviest(seed):
    rng = random.Random(seed)
    weights = {a: sum(rng.choice([0, 0.25, 0.5, 1]) for _ in range(3)) for a in "abcd"}
    tied = winners(weights)
    share = vote_share(weights["a"], [w for a, w in weights.items() if a != "a"])
    assert share == (("a" in tied) / len(tied) if tied else 0.0)


def sure(confidence):
    """Candidates of the tokens of a chunk with this confidence, in thousandths."""
    return ({"a": -confidence / 1000, "b": -confidence / 1000},) * CHUNK


def says(traces):
    """Each sample writes its own trace: its first call is known by its seed, others by the text."""
    seeds = {
        call_seed(0, SampleId("played", 0, n), "target", "takeover", 0): n
        for n in range(len(traces))
    }

    def reply(asked):
        text = asked.text.rpartition("<|assistant|>")[2]
        n = int(text[0], 16) if text else seeds[asked.request.seed]
        turn = len(text) // CHUNK
        words = rf"\boxed{{{n % 3}}}" if turn == len(traces[n]) - 1 else f"{n:x}bcdefghi"
        return Says(words, ending="length", top_logprobs=sure(traces[n][turn]))

    return reply


def lowest(trace, size):
    """Mean of the lowest window of a trace, to thousandths; of all of it where none is full."""
    tokens = [confidence for confidence in trace for _ in range(CHUNK)]
    size = min(size, len(tokens))
    return min(round(sum(tokens[n : n + size]) / size) for n in range(len(tokens) - size + 1))


def percentile(values, percent):
    """Between the two nearest of the ordered values, as far as the place lies between them."""
    ordered = sorted(values)
    place = Fraction(percent) / 100 * (len(ordered) - 1)
    low = int(place)
    above = ordered[min(low + 1, len(ordered) - 1)]
    return ordered[low] + (place - low) * (above - ordered[low])


def traces_of(seed):
    """Ten traces of two to five chunks; equal confidences are frequent, so that edges are met."""
    rng = random.Random(seed)
    return [[1000 * rng.randint(1, 6) for _ in range(rng.randint(2, 5))] for _ in range(10)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [6, 9, 14, 30])
@pytest.mark.parametrize("keep", [25, 50, 100])
def test_deepconf_online(seed, size, keep):
    traces, warmup = traces_of(seed), 5
    bar = percentile([lowest(trace, size) for trace in traces[:warmup]], 100 - keep)
    expected = []
    for n, trace in enumerate(traces):
        calls = len(trace)
        if n >= warmup:  # it is looked at before every call but the first
            full = [c for c in range(1, calls) if c * CHUNK >= size]
            calls = next((c for c in full if lowest(trace[:c], size) < bar), calls)
        own = lowest(trace, size)
        whole = calls == len(trace)
        expected.append((calls, own / 1000 if whole and own >= bar else 0.0))
    options = {"inner": "target-only", "chunk_tokens": CHUNK, "group_tokens": size}
    options |= {"warmup": warmup, "keep": float(keep)}
    played = play(DeepConf, options, target=says(traces), repeats=10, max_tokens=400)
    assert [(r.calls["target/takeover"].calls, r.weight) for r in played.records] == expected


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("keep", [10, 50, 100])
def test_deepconf_offline(seed, keep):
    traces = traces_of(seed)
    scores = [lowest(trace, 14) for trace in traces]
    bar = percentile(scores, 100 - keep)
    options = {"inner": "target-only", "chunk_tokens": CHUNK, "group_tokens": 14}
    options |= {"mode": "offline", "keep": float(keep)}
    played = play(DeepConf, options, target=says(traces), repeats=10, max_tokens=400)
    weights = [score / 1000 if score >= bar else 0.0 for score in scores]
    assert [record.weight for record in played.records] == weights
    voted = counted(played, [n % 3 for n in range(10)])
    own = Counter()
    for n, weight in enumerate(weights):
        own[n % 3] += weight
    assert winners(voted) == winners(own)
