"""Checks of every call: a request before it is sent, and its reply before it is used.

The role client checks the replies of all backends here; backends check requests here, because an
engine may answer a bad one wrongly, or crash. A reply that contradicts its request is
malformed, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from atts_harness.backend import (
    Backend,
    Capabilities,
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    ScoreRequest,
    Usage,
)
from atts_harness.errors import BadRequestError, ContextLengthError, MalformedReplyError
from atts_harness.ids import bounds

ROUNDING = 1e-3
"""A log-probability may be above zero by at most this much, and then counts as zero."""
MOST_TOKENS = 1 << 40  # no count of one call comes near, and sums of them still fit everywhere


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
        reserve: tokens that the engine must be able to generate after the context.

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


async def ask(
    backend: Backend, request: GenerateRequest | ScoreRequest
) -> GenerateReply | ScoreReply:
    """A backend's reply to a request, checked.

    Raises:
        BackendError: as the backend does, and for a reply that contradicts the request.
    """
    reply: GenerateReply | ScoreReply
    if isinstance(request, GenerateRequest):
        reply = await backend.generate(request)
    else:
        reply = await backend.score(request)
    return check_reply(request, reply, backend.capabilities, backend.tokenizer.vocab_size)


async def generate(backend: Backend, request: GenerateRequest) -> GenerateReply:
    """A backend's reply to a generation, checked; as `ask`."""
    reply = await ask(backend, request)
    assert isinstance(reply, GenerateReply)
    return reply


async def score(backend: Backend, request: ScoreRequest) -> ScoreReply:
    """A backend's reply to a score, checked; as `ask`."""
    reply = await ask(backend, request)
    assert isinstance(reply, ScoreReply)
    return reply


def check_reply(
    request: GenerateRequest | ScoreRequest,
    reply: GenerateReply | ScoreReply,
    capabilities: Capabilities,
    vocab_size: int,
) -> GenerateReply | ScoreReply:
    """A reply, checked against its request; log-probabilities just above zero become zero.

    A probability of zero (minus infinity) is a score like any other.

    Args:
        request: what was asked.
        reply: what came back.
        capabilities: of the backend.
        vocab_size: of its tokenizer. A model whose vocabulary is padded may write ids behind it;
            `Capabilities.output_ids` says how far.

    Raises:
        MalformedReplyError: names what contradicts the request.
    """
    _check_usage(request, reply.usage, capabilities)
    if isinstance(request, ScoreRequest):
        if not isinstance(reply, ScoreReply):
            raise MalformedReplyError("score: the reply is a generation")
        logprobs = _logprobs(reply.logprobs, len(request.ids) - request.start, "score")
        if logprobs is not reply.logprobs:
            return msgspec.structs.replace(reply, logprobs=logprobs)
        return reply
    if not isinstance(reply, GenerateReply):
        raise MalformedReplyError("generation: the reply is a score")
    return _generation(request, reply, max(vocab_size, capabilities.output_ids))


def _generation(request: GenerateRequest, reply: GenerateReply, above: int) -> GenerateReply:
    ids = reply.ids
    if len(ids) > request.max_tokens:
        raise MalformedReplyError(
            f"generation: {len(ids)} tokens, more than the {request.max_tokens} that were asked for"
        )
    if ids and (min(ids) < 0 or max(ids) >= above):
        wrong = next(id_ for id_ in ids if not 0 <= id_ < above)
        raise MalformedReplyError(f"generation: id {wrong} is outside the vocabulary of {above}")
    if reply.ending == "stop" and reply.stop not in request.stop:
        raise MalformedReplyError(
            f"generation: it was stopped by {str(reply.stop)[:80]!r}, which was not asked for"
        )
    if reply.logprobs is not None:
        logprobs = _logprobs(reply.logprobs, len(ids), "generation")
        if logprobs is not reply.logprobs:
            reply = msgspec.structs.replace(reply, logprobs=logprobs)
    if reply.top_logprobs is not None:
        if len(reply.top_logprobs) != len(ids):
            raise MalformedReplyError(
                f"generation: {len(reply.top_logprobs)} lists of alternatives for {len(ids)} tokens"
            )
        for top in reply.top_logprobs:
            _logprobs(tuple(top.values()), len(top), "generation: alternatives")
            if top and (min(top) < 0 or max(top) >= above):
                raise MalformedReplyError(
                    f"generation: an alternative is outside the vocabulary of {above}"
                )
    return reply


def _logprobs(values: tuple[float, ...], count: int, label: str) -> tuple[float, ...]:
    if len(values) != count:
        raise MalformedReplyError(f"{label}: {len(values)} log-probabilities for {count} tokens")
    if not values:
        return values
    total = sum(values)
    most = max(values)
    if total != total:  # a NaN anywhere makes the sum one
        raise MalformedReplyError(f"{label}: a log-probability is not a number")
    if most > ROUNDING:
        raise MalformedReplyError(f"{label}: a log-probability is {most}, which is above zero")
    return values if most <= 0.0 else tuple([min(value, 0.0) for value in values])


def _check_usage(
    request: GenerateRequest | ScoreRequest, usage: Usage, capabilities: Capabilities
) -> None:
    """Refuse token counts that are impossible, or that belong to another request.

    An engine that needs two requests for one score counts its context twice.
    """
    prompt, cached, written = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
    length = len(request.ids)
    if not (0 <= (cached or 0) <= prompt <= MOST_TOKENS and 0 <= written <= MOST_TOKENS):
        raise MalformedReplyError(
            f"usage: {prompt} prompt, {cached} cached and {written} completion tokens cannot be"
        )
    proposed, accepted = usage.proposed_tokens or 0, usage.accepted_tokens or 0
    if not 0 <= accepted <= proposed <= MOST_TOKENS:
        raise MalformedReplyError(
            f"usage: {accepted} accepted of {proposed} proposed tokens cannot be"
        )
    if not 0 <= usage.scored_tokens <= length:
        raise MalformedReplyError(
            f"usage: {usage.scored_tokens} scored tokens in a context of {length}"
        )
    if not capabilities.counts_ids:
        return
    if prompt != length and not (isinstance(request, ScoreRequest) and prompt == 2 * length):
        raise MalformedReplyError(
            f"usage: {prompt} prompt tokens for a context of {length}; this is another request's "
            "reply, or the server put something into the prompt"
        )
    if isinstance(request, GenerateRequest) and written > request.max_tokens:
        raise MalformedReplyError(
            f"usage: {written} completion tokens, more than the {request.max_tokens} asked for"
        )
