"""What crashes an engine, or what it would answer silently otherwise, is never sent."""

import pytest

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    Sampling,
    ScoreReply,
    ScoreRequest,
    Usage,
)
from atts_harness.errors import BadRequestError, ContextLengthError, MalformedReplyError
from atts_harness.guards import check_generate, check_reply, check_score

LIMITS = {"vocab_size": 100, "max_length": 10}


def generate(**fields):
    request = GenerateRequest(**({"ids": (1, 2, 3), "max_tokens": 4} | fields))
    check_generate(request, **LIMITS, top_logprobs=5)


def test_what_fits_passes():
    generate()
    generate(max_tokens=7, ids=(0, 99, 3), top_logprobs=5, stop=("\n\n",))
    check_score(ScoreRequest(ids=tuple(range(10)), start=9), **LIMITS)


@pytest.mark.parametrize("ids", [(), (1, 100), (-1, 2), (1, 10**9)])
def test_empty_contexts_and_ids_outside_the_vocabulary(ids):
    with pytest.raises(BadRequestError):
        generate(ids=ids)
    with pytest.raises(BadRequestError):
        check_score(ScoreRequest(ids=ids, start=1), **LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"top_logprobs": 6},
        {"top_logprobs": -1},
        {"stop": ("a", "")},
        {"sampling": Sampling(temperature=-0.1)},
        {"sampling": Sampling(top_p=0.0)},
        {"sampling": Sampling(top_p=1.1)},
        {"sampling": Sampling(top_k=-1)},
        {"sampling": Sampling(min_p=1.5)},
        {"sampling": Sampling(temperature=float("nan"))},
    ],
)
def test_values_that_no_engine_takes(fields):
    with pytest.raises(BadRequestError):
        generate(**fields)


def test_context_and_new_tokens_must_fit_together():
    with pytest.raises(ContextLengthError, match="window of 10"):
        generate(max_tokens=8)


def test_a_score_needs_something_to_score_and_something_before_it():
    for start in (0, -1, 3, 4):
        with pytest.raises(BadRequestError, match="start"):
            check_score(ScoreRequest(ids=(1, 2, 3), start=start), **LIMITS)


def test_a_score_leaves_room_for_what_the_engine_must_generate():
    ten = ScoreRequest(ids=tuple(range(10)), start=5)
    check_score(ten, **LIMITS)
    with pytest.raises(ContextLengthError):
        check_score(ten, **LIMITS, reserve=1)


ASKED = GenerateRequest(ids=(1, 2, 3), max_tokens=4, stop=("\n",), top_logprobs=1)
SCORED = ScoreRequest(ids=(1, 2, 3, 4), start=2)
INF, NAN = float("inf"), float("nan")


def generation(capabilities=Capabilities(), usage=None, **fields):  # noqa: B008
    counts = {"prompt_tokens": 3, "completion_tokens": 2, **(usage or {})}
    usual = {"ids": (5, 6), "ending": "length", "usage": Usage(**counts)}
    return check_reply(ASKED, GenerateReply(**usual | fields), capabilities, 100)


def scoring(logprobs=(-1.0, -2.0), **usage):
    counts = {"prompt_tokens": 4, "scored_tokens": 2, **usage}
    reply = ScoreReply(logprobs=logprobs, usage=Usage(**counts))
    return check_reply(SCORED, reply, Capabilities(), 100)


def test_replies_that_agree_pass_as_they_are():
    top = ({5: -0.1}, {6: -INF})
    reply = generation(ending="stop", stop="\n", logprobs=(-0.1, -INF), top_logprobs=top)
    assert reply.logprobs == (-0.1, -INF)
    assert scoring().logprobs == (-1.0, -2.0)
    assert scoring(logprobs=(-INF, -2.0)).logprobs == (-INF, -2.0)


def test_rounding_above_zero_is_zero():
    assert scoring(logprobs=(1e-6, -2.0)).logprobs == (0.0, -2.0)
    assert generation(logprobs=(1e-3, -2.0)).logprobs == (0.0, -2.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"ids": (5, 100)},
        {"ids": (-1, 5)},
        {"ids": (5, 1 << 32)},
        {"ids": (1,) * 5, "usage": {"completion_tokens": 4}},
        {"usage": {"prompt_tokens": 4}},
        {"usage": {"prompt_tokens": 6}},
        {"usage": {"completion_tokens": 5}},
        {"usage": {"completion_tokens": -1}},
        {"usage": {"cached_tokens": 4}},
        {"usage": {"cached_tokens": -1}},
        {"usage": {"scored_tokens": 4}},
        {"ending": "stop", "stop": "NaN happened"},
        {"ending": "stop", "stop": None},
        {"logprobs": (-1.0,)},
        {"logprobs": (-1.0, NAN)},
        {"logprobs": (-1.0, 0.1)},
        {"top_logprobs": ({5: -1.0},)},
        {"top_logprobs": ({5: NAN}, {})},
        {"top_logprobs": ({5: -1.0}, {100: -1.0})},
    ],
)
def test_generations_that_contradict_their_request(fields):
    with pytest.raises(MalformedReplyError):
        generation(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": (-1.0,)},
        {"logprobs": (-1.0, NAN)},
        {"logprobs": (NAN, 5.0)},
        {"logprobs": (-1.0, INF)},
        {"logprobs": (-1.0, 0.002)},
        {"logprobs": (-INF, INF)},
        {"prompt_tokens": 5},
        {"prompt_tokens": 1 << 80},
        {"cached_tokens": 2_000_000_000},
        {"scored_tokens": 5},
    ],
)
def test_scores_that_contradict_their_request(fields):
    with pytest.raises(MalformedReplyError):
        scoring(**fields)


def test_replies_of_another_sort():
    with pytest.raises(MalformedReplyError):
        check_reply(SCORED, generation(), Capabilities(counts_ids=False), 100)
    with pytest.raises(MalformedReplyError):
        check_reply(ASKED, ScoreReply(logprobs=(), usage=Usage(prompt_tokens=3)), Capabilities(), 9)


def test_a_padded_vocabulary_may_be_written_to_its_end():
    padded = Capabilities(output_ids=128)
    assert generation(padded, ids=(5, 127)).ids == (5, 127)
    with pytest.raises(MalformedReplyError, match="vocabulary of 128"):
        generation(padded, ids=(5, 128))


def test_a_backend_that_sends_texts_counts_other_tokens():
    texts = Capabilities(counts_ids=False)
    assert generation(texts, usage={"prompt_tokens": 9, "completion_tokens": 7})


def test_an_engine_that_had_to_be_asked_twice_counts_its_context_twice():
    assert scoring(prompt_tokens=8, cached_tokens=5)
