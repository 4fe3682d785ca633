"""Checks before a request is sent: what engines answer wrongly, silently, or by crashing."""

from __future__ import annotations

from collections.abc import Sequence

from atts_harness.backend import GenerateRequest, ScoreRequest
from atts_harness.errors import BadRequestError, ContextLengthError
from atts_harness.ids import bounds


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Refuse an empty context and ids outside the vocabulary; either crashes an engine.

    Raises:
        BadRequestError: names what is wrong.
    """
    if not ids:
        raise BadRequestError("request: the context is empty; a prompt needs at least one token")
    least, greatest = bounds(ids)
    if least < 0 or greatest >= vocab_size:
        wrong = next(id_ for id_ in ids if not 0 <= id_ < vocab_size)
        raise BadRequestError(
            f"request: id {wrong} is outside the vocabulary of {vocab_size}; give the served "
            "model's own tokenizer (`tokenizer=`)"
        )


def check_generate(
    request: GenerateRequest, *, vocab_size: int, max_length: int, top_logprobs: int
) -> None:
    """Refuse a generation that does not fit; engines clamp or refuse it in their own ways.

    Args:
        request: what is asked.
        vocab_size: ids are below it.
        max_length: tokens.
        top_logprobs: most alternatives the server gives.

    Raises:
        BadRequestError: empty, outside the vocabulary, or a value that no engine takes.
        ContextLengthError: context and `max_tokens` exceed `max_length` tokens.
    """
    check_ids(request.ids, vocab_size)
    if request.max_tokens < 1:
        raise BadRequestError(f"max_tokens: must be at least 1, not {request.max_tokens}")
    if not 0 <= request.top_logprobs <= top_logprobs:
        raise BadRequestError(
            f"top_logprobs: must be in [0, {top_logprobs}], not {request.top_logprobs}"
        )
    if "" in request.stop:
        raise BadRequestError("stop: an empty string stops everywhere; leave it out")
    drawn = request.sampling
    if not (
        drawn.temperature >= 0
        and 0 < drawn.top_p <= 1
        and drawn.top_k >= 0
        and 0 <= drawn.min_p <= 1
    ):
        raise BadRequestError(
            "sampling: needs temperature >= 0, top_p in (0, 1], top_k >= 0 and min_p in [0, 1], "
            f"not {drawn.temperature}, {drawn.top_p}, {drawn.top_k}, {drawn.min_p}"
        )
    if len(request.ids) + request.max_tokens > max_length:
        raise ContextLengthError(
            f"max_length: {len(request.ids)} tokens of context and {request.max_tokens} new ones "
            f"exceed the window of {max_length}; lower `max_gen_toks` or serve a longer context"
        )


def check_score(
    request: ScoreRequest, *, vocab_size: int, max_length: int, reserve: int = 0
) -> None:
    """Refuse a score that does not fit, or that asks for the first token's log-probability.

    Args:
        request: what to score.
        vocab_size: ids are below it.
        max_length: tokens.
        reserve: tokens the engine must be able to generate behind the context.

    Raises:
        BadRequestError: empty, outside the vocabulary, nothing to score, or `start` is 0.
        ContextLengthError: the context exceeds `max_length` tokens.
    """
    check_ids(request.ids, vocab_size)
    if not 1 <= request.start < len(request.ids):
        raise BadRequestError(
            f"request: start {request.start} leaves nothing to score in {len(request.ids)} tokens; "
            "it must be at least 1 and below their number"
        )
    if len(request.ids) + reserve > max_length:
        raise ContextLengthError(
            f"max_length: {len(request.ids)} tokens to score exceed the window of {max_length}; "
            "lower `max_gen_toks` or serve a longer context"
        )
