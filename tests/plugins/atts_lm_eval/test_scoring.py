"""`loglikelihood` requests: which ids are scored, and what is made of the numbers."""

import math

import pytest
from atts_lm_eval import scoring
from atts_lm_eval.model import AttsLM, model_class
from atts_lm_eval.prompts import ChatPrompt

from atts_harness.backend import Capabilities
from atts_harness.errors import (
    BadRequestError,
    JournalMismatchError,
    SampleFailedError,
    SettingError,
)
from atts_harness.testing.scripted import Says


@pytest.fixture
def lm(pair):
    models = []

    def make(cls=AttsLM, **args):
        models.append(cls(**args))
        return models[-1]

    yield make
    for model in models:
        model.close()


@pytest.fixture
def request_of(ask):
    def make(*args, doc=0):
        request = ask(doc=doc)
        request.args = args
        return request

    return make


def scored(pair):
    """Context and continuation of every score, as text."""
    decode = pair.target.tokenizer.decode
    return [
        (decode(s.request.ids[: s.request.start]), decode(s.request.ids[s.request.start :]))
        for s in pair.target.served
        if hasattr(s.request, "start")
    ]


def test_sum_over_the_continuation_in_order_of_requests(pair, lm, request_of):
    pair.target.scores = lambda asked: float(asked.text.count("x"))
    requests = [request_of("Q:", " xx"), request_of("Q:", " ab"), request_of("R:", " x", doc=1)]
    sums = [total for total, _ in lm().loglikelihood(requests)]
    assert sums == [-6.0, 0.0, -2.0]


def test_raw_text_is_scored_as_raw_text(pair, lm, request_of):
    lm().loglikelihood([request_of("The sky is", " blue")])
    assert scored(pair) == [("The sky is", " blue")]


def test_spaces_at_the_end_of_the_context_go_to_the_continuation(pair, lm, request_of):
    lm().loglikelihood([request_of("The sky is ", "blue")])
    assert scored(pair) == [("The sky is", " blue")]


@pytest.mark.parametrize("context", ["", "  "])
def test_an_empty_context_is_a_beginning(pair, lm, request_of, context):
    lm().loglikelihood([request_of(context, "blue")])
    assert scored(pair) == [("<|end|>", context + "blue")]


def test_messages_are_rendered_by_the_target(pair, lm, request_of):
    prompt = ChatPrompt.of([{"role": "user", "content": "Sky?"}])
    lm().loglikelihood([request_of(prompt, "blue")])
    assert scored(pair) == [("<|user|>Sky?<|end|><|assistant|>", "blue")]


def test_a_context_that_is_too_long_loses_its_beginning(pair, lm, request_of):
    pair.target.max_length = 10
    lm(model_class("target-only"), max_gen_toks=1).loglikelihood([request_of("0123456789", "abc")])
    assert scored(pair) == [("3456789", "abc")]


def test_the_drafts_context_does_not_matter(pair, lm, request_of):
    pair.draft.max_length = 4
    lm().loglikelihood([request_of("0123456789", "abc")])
    assert scored(pair) == [("0123456789", "abc")]


def test_a_run_directory_keeps_the_scores(pair, lm, request_of, tmp_path):
    run_dir = str(tmp_path / "run")
    first = lm(run_dir=run_dir)
    expected = first.loglikelihood([request_of("a", "b")])
    first.close()
    pair.target.served.clear()
    again = lm(run_dir=run_dir)
    assert again.loglikelihood([request_of("a", "b")]) == expected
    assert not pair.target.served
    with pytest.raises(JournalMismatchError):
        again.loglikelihood([request_of("x", "b")])


def test_a_continuation_that_cannot_be_scored_is_refused(pair, lm, request_of):
    pair.target.max_length = 4
    model = lm(model_class("target-only"))
    for continuation in ("", "abcd"):
        with pytest.raises(SettingError, match="loglikelihood: a continuation of"):
            model.loglikelihood([request_of("q", continuation)])


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [([-0.1, -0.6], True), ([-0.1, -6.0], False), ([-0.1, -0.7], None)],
)
def test_greedy_where_the_probabilities_alone_tell(logprobs, expected):
    assert scoring.certainly_greedy(logprobs, vocab_size=256) is expected


@pytest.mark.parametrize(("says", "greedy"), [(" blue", True), (" grey", False)])
def test_greedy_is_tried_where_they_do_not_tell(pair, lm, request_of, says, greedy):
    pair.target.scores = 1.0
    pair.target.replies = lambda asked: Says(says, ending="length")
    ((total, found),) = lm().loglikelihood([request_of("The sky is", " blue")])
    assert (total, found) == (-5.0, greedy)
    probe = pair.target.served[-1].request
    assert (probe.max_tokens, probe.sampling.temperature) == (5, 0.0)


def test_rolling_scores_every_token_once(pair, lm, request_of):
    pair.target.max_length = 8
    pair.target.scores = 1.0
    sums = lm(model_class("target-only")).loglikelihood_rolling(
        [request_of("abcdefghijklmnopqrst"), request_of("", doc=1)]
    )
    assert sums == [-20.0, 0.0]
    assert "".join(continuation for _, continuation in scored(pair)) == "abcdefghijklmnopqrst"
    assert scored(pair)[0][0] == "<|end|>"


def test_a_strategy_without_a_target_cannot_score(pair, lm, request_of):
    with pytest.raises(SettingError, match="strategy draft-only has no target"):
        lm(model_class("draft-only")).loglikelihood([request_of("a", "b")])


def test_a_server_without_prompt_log_probabilities_cannot_score(pair, lm, request_of):
    pair.target.capabilities = Capabilities(scores=False)
    with pytest.raises(SettingError, match="gives no log-probabilities"):
        lm(model_class("target-only")).loglikelihood([request_of("a", "b")])


def test_a_score_that_fails_for_good_is_no_number(pair, lm, request_of):
    pair.target.scores = lambda asked: BadRequestError("no")
    with pytest.raises(SampleFailedError, match="1 of 1 scores failed for good"):
        lm().loglikelihood([request_of("a", "b")])


def test_not_a_number_is_no_number(pair, lm, request_of):
    pair.target.scores = math.nan
    with pytest.raises(SampleFailedError, match="a log-probability is not a number"):
        lm(retries=0).loglikelihood([request_of("a", "b")])
