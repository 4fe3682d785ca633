"""What crashes an engine, or what it would answer silently otherwise, is never sent."""

import pytest

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.guards import check_generate, check_score
from atts_harness.errors import BadRequestError, ContextLengthError

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
