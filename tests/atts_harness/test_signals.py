"""Signals other than the target's perplexity: values by hand, golden traces, banks, refusals."""

import asyncio
import math
import random

import pytest

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.backend import Capabilities, GenerateReply, Usage
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.conformal.provenance import Provenance, of_run
from atts_harness.errors import MalformedReplyError, SettingError
from atts_harness.running.opening import open_models
from atts_harness.settings import parse_settings
from atts_harness.signals import (
    CANDIDATES,
    GROUP,
    SIGNALS,
    SignalName,
    confidence,
    confidences_of,
    entropy,
    lowest_group,
    with_confidences,
)
from atts_harness.strategy import Generation
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says
from atts_harness.transcript import Segment

LN2, LN3 = math.log(2), math.log(3)
SURE, COIN, THREE = {"d": 0.0}, {"d": -LN2, "x": -LN2}, {"d": -LN3, "x": -LN3, "y": -LN3}


def cut(*steps):
    """A draft of one `d` a step, with these alternatives."""
    return Says("d" * len(steps), ending="length", top_logprobs=steps)


def reply(*steps, logprobs=None):
    return Generation(
        Segment("draft", (), "length", 0, "draft"),
        logprobs=logprobs,
        candidates=tuple(tuple(step) for step in steps) or None,
    )


def test_every_signal_has_a_value_or_is_the_published_one():
    assert {"perplexity", *SIGNALS} == {*SignalName.__args__}


def test_entropy_is_of_probabilities_scaled_to_one():
    assert entropy([0.0]) == 0.0
    assert entropy([-LN2, -LN2]) == pytest.approx(LN2)
    assert entropy([-5.0, -5.0, -math.inf]) == pytest.approx(LN2)
    draws = [random.Random(1).uniform(0.1, 1.0) for _ in range(9)]
    shares = [one / sum(draws) for one in draws]
    by_hand = -sum(p * math.log(p) for p in shares)
    assert entropy([math.log(p) - 3.0 for p in draws]) == pytest.approx(by_hand)
    with pytest.raises(MalformedReplyError, match="probability 0"):
        entropy([-math.inf])


def test_a_confidence_is_minus_the_mean_of_the_candidates_that_are_possible():
    assert confidence([-1.0, -3.0, -math.inf]) == 2.0
    assert confidence([-math.inf]) is None
    assert confidences_of([[-0.1234, -0.2], [0.0]]) == (162, 0)
    assert confidences_of([[-0.1], []]) is None


def test_a_reply_keeps_confidences_in_place_of_alternatives_unless_one_is_missing():
    def told(*steps):
        usage = Usage(prompt_tokens=1, completion_tokens=2)
        return GenerateReply(ids=(5, 6), ending="length", usage=usage, top_logprobs=steps or None)

    kept = with_confidences(told({5: -1.0, 7: -2.0}, {6: -0.5}))
    assert (kept.top_logprobs, kept.confidences, kept.ids) == (None, (1500, 500), (5, 6))
    for incomplete in (told(), told({5: -1.0}, {})):
        assert with_confidences(incomplete) is incomplete


def test_the_lowest_group_is_that_of_brute_force():
    rng = random.Random(3)
    for count in (1, GROUP - 1, GROUP, GROUP + 1, 100):
        steps = [[rng.uniform(-6, 0) for _ in range(5)] for _ in range(count)]
        sure = [-sum(step) / 5 for step in steps]
        size = min(GROUP, count)
        windows = [sum(sure[at : at + size]) / size for at in range(count - size + 1)]
        assert lowest_group(reply(*steps)) == pytest.approx(-min(windows))


@pytest.mark.parametrize("name", [name for name, one in SIGNALS.items() if one.value is not None])
def test_a_draft_without_log_probabilities_has_no_value(name):
    with pytest.raises(MalformedReplyError, match="came without"):
        SIGNALS[name].value(reply())


@pytest.fixture
def bank(tmp_path):
    """Nine entropies up to 0.9: at rate 0.2 only what is above 0.8 of it is taken over."""

    def of(signal):
        path = tmp_path / f"{signal}.json"
        scores = ((n, 0, n / 10) for n in range(1, 10))
        write_bank(bank_of(scores, provenance=Provenance(signal=signal)), path)
        options = {"bank": str(path), "coverage": "marginal", "ties": "conservative", "rate": 0.2}
        return options | {"signal": signal, "turns": 2}

    return of


@pytest.mark.parametrize(
    ("signal", "first", "second"),
    [
        ("first-token-entropy", (LN3, True), (0.0, False)),
        ("mean-entropy", ((LN3 + 0.0) / 2, False), (LN2, False)),
        ("draft-perplexity", ((LN3 + 0.0) / 2, False), (LN2, False)),
    ],
)
def test_the_draft_alone_decides_and_the_target_scores_nothing(bank, signal, first, second):
    drafts = [cut(THREE, SURE), cut(SURE, {"d": -2 * LN2, "x": -0.1})]
    if signal != "first-token-entropy":
        drafts[1] = cut(COIN, COIN)
    played = play(ATTS, bank(signal), draft=drafts, target=[Says("t", ending="length")])
    assert [(d.nonconformity, d.takeover) for d in played.record.decisions] == [
        (pytest.approx(s), taken) for s, taken in (first, second)
    ]
    assert not any("score" in call for call in played.called())
    asked = played.draft.served[0].request.top_logprobs
    assert asked == (1 if signal == "draft-perplexity" else CANDIDATES)


def test_a_random_signal_is_seeded_and_asks_for_nothing(bank):
    runs = [
        play(ATTS, bank("random"), draft=[cut(SURE), cut(SURE)], target=["t", "t"], seed=seed)
        for seed in (1, 1, 2)
    ]
    drawn = [[d.nonconformity for d in played.record.decisions] for played in runs]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(0 <= one < 1 for own in drawn for one in own)
    assert runs[0].draft.served[0].request.top_logprobs == 0


def test_a_bank_of_another_signal_is_refused(bank):
    entropies = bank("mean-entropy")
    run = {"roles": {}, "draft_tokens": 500}
    for signal, told in ((None, "perplexity"), ("first-token-entropy", "first-token-entropy")):
        options = {**entropies, "signal": told}
        provenance = run if signal is None else run | {"signal": signal}
        with pytest.raises(SettingError, match="signal"):
            play(
                ATTS,
                options,
                draft=[cut(SURE)],
                scores=[0.1],
                provenance=provenance | {"task": "played"},
            )


def test_a_published_bank_says_perplexity_by_saying_nothing():
    assert of_run({}, "t").signal is None
    assert ATTSOptions().provenance().get("signal") is None
    assert ATTSOptions(signal="mean-entropy").provenance()["signal"] == "mean-entropy"


def test_a_strategy_without_scores_needs_no_target_that_scores():
    for signal, scores, tops in (
        ("perplexity", True, 0),
        ("mean-entropy", False, CANDIDATES),
        ("random", False, 0),
    ):
        made = ATTS.made_for({"signal": signal})
        assert (made.name, made.scores, made.top_logprobs) == ("atts", scores, tops)


def test_a_signal_that_the_backend_cannot_give_is_one_line(pair):
    pair.draft.capabilities = Capabilities(top_logprobs=5)
    settings = parse_settings({"strategy": "atts", "signal": "mean-entropy"})
    with pytest.raises(SettingError, match="20 likeliest") as caught:
        asyncio.run(open_models(settings))
    assert "\n" not in str(caught.value)


def test_an_unknown_signal_is_one_line():
    with pytest.raises(SettingError, match="signal"):
        parse_settings({"strategy": "atts", "signal": "gut"}).options()
