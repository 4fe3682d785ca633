"""Requests to SGLang's `/generate`, and the parts of its replies that are read."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from atts_harness.backend import GenerateReply, GenerateRequest, ScoreReply, ScoreRequest, Usage
from atts_harness.engines.replies import IMPOSSIBLE, log_probabilities, same_ids
from atts_harness.errors import BackendUnavailableError, MalformedReplyError
from atts_harness.ids import as_json
from atts_harness.transcript import Ending

# SGLang's stand-in for "all tokens".
ALL_TOKENS = -1
LogprobEntry = tuple[float | None, int, str | None]


class FinishReason(msgspec.Struct):
    """Why a generation ended; `matched` is a stop string or an id."""

    type: str
    matched: str | int | list[int] | None = None
    message: str | None = None


class MetaInfo(msgspec.Struct):
    """The part of `meta_info` that is read."""

    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    id: str | None = None
    cached_tokens: int | None = None
    first_token_latency: float | None = None
    spec_num_proposed_drafts: int | None = None
    spec_num_correct_drafts: int | None = None
    input_token_logprobs: list[LogprobEntry] | None = None
    output_token_logprobs: list[LogprobEntry] | None = None
    output_top_logprobs: list[list[LogprobEntry] | None] | None = None


class Reply(msgspec.Struct):
    """A reply of `/generate`."""

    meta_info: MetaInfo
    output_ids: list[int] = []


def request_ids() -> Iterator[str]:
    """Endless request ids, none of which another one begins with.

    SGLang aborts every request whose id begins with the one that is to be aborted.
    """
    return map(f"{uuid.uuid4().hex}-{{}}.".format, itertools.count())


def generate_payload(
    request: GenerateRequest,
    rid: str,
    *,
    eos_ids: Sequence[int],
    seeds: bool,
    priority: int | None,
) -> dict[str, Any]:
    """Body of a generation.

    Everything that a model's or a server's defaults could change is sent explicitly.

    Args:
        request: what is asked.
        rid: request id, by which it can be aborted.
        eos_ids: what ends a turn for the client; the server is to agree.
        seeds: whether the server takes a seed.
        priority: in the server's own sense; None where it has no priorities.
    """
    sampling: dict[str, Any] = {
        "max_new_tokens": request.max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_k": request.sampling.top_k or ALL_TOKENS,
        "min_p": request.sampling.min_p,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": list(request.stop),
        "stop_token_ids": sorted(eos_ids),
        "no_stop_trim": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }
    if seeds and request.seed is not None:
        sampling["sampling_seed"] = request.seed % 2**63
    payload: dict[str, Any] = {
        "rid": rid,
        "input_ids": as_json(request.ids),
        "sampling_params": sampling,
    }
    if request.top_logprobs:
        payload |= {"return_logprob": True, "top_logprobs_num": request.top_logprobs}
    if priority is not None:
        payload["priority"] = priority
    return payload


def score_payload(request: ScoreRequest, rid: str, *, priority: int | None) -> dict[str, Any]:
    """Body of a score: no new token, log-probabilities from one position before the segment.

    SGLang returns an entry for each position from `logprob_start_len` on, the first of them
    empty, and takes everything before it from the prefix cache. The temperature is 1: it does not
    touch log-probabilities of the input, and releases before 0.4.7 turn a whole running batch
    greedy when a request of temperature 0 joins it.
    """
    payload: dict[str, Any] = {
        "rid": rid,
        "input_ids": as_json(request.ids),
        "sampling_params": {"max_new_tokens": 0, "temperature": 1.0},
        "return_logprob": True,
        "logprob_start_len": request.start - 1,
    }
    if priority is not None:
        payload["priority"] = priority
    return payload


def read_generate(reply: Reply, request: GenerateRequest, *, tempered: bool) -> GenerateReply:
    """A generation from its reply.

    Args:
        reply: as decoded.
        request: what was asked.
        tempered: the server scales log-probabilities of generated tokens by the temperature.

    Raises:
        BackendUnavailableError: the server aborted the request.
        MalformedReplyError: the reply contradicts itself.
    """
    meta = reply.meta_info
    ending, stop = _ending(meta.finish_reason)
    if len(reply.output_ids) != meta.completion_tokens or not reply.output_ids:
        raise MalformedReplyError(
            f"generation: {len(reply.output_ids)} ids for {meta.completion_tokens} tokens"
        )
    logprobs = None
    alternatives = None
    # A tempered log-probability is another number than the one promised, except at 0 (where
    # SGLang computes with 1) and 1.
    comparable = not tempered or request.sampling.temperature in (0.0, 1.0)
    if request.top_logprobs and comparable:
        logprobs, alternatives = _output_logprobs(reply)
    return GenerateReply(
        ids=tuple(reply.output_ids),
        ending=ending,
        stop=stop,
        logprobs=logprobs,
        top_logprobs=alternatives,
        usage=Usage(
            prompt_tokens=meta.prompt_tokens,
            cached_tokens=meta.cached_tokens,
            completion_tokens=meta.completion_tokens,
            time_to_first_token=meta.first_token_latency,
            proposed_tokens=meta.spec_num_proposed_drafts,
            accepted_tokens=meta.spec_num_correct_drafts,
        ),
    )


def read_score(reply: Reply, request: ScoreRequest, vocab_size: int) -> ScoreReply:
    """A score from its reply.

    SGLang returns the last id of a vocabulary as 0 (it uses it as a placeholder of images); the
    log-probability is the right one.

    Args:
        reply: as decoded.
        request: what was asked.
        vocab_size: ids are below it.

    Raises:
        BackendUnavailableError: the server aborted the request.
        MalformedReplyError: not exactly the segment's tokens, or a log-probability is not a number.
    """
    meta = reply.meta_info
    _ending(meta.finish_reason)
    entries = meta.input_token_logprobs or []
    # The entry before the segment has no log-probability.
    sent = request.ids[request.start - 1 :]
    echoed = [entry[1] for entry in entries]
    if vocab_size - 1 in sent and len(echoed) == len(sent):
        last = vocab_size - 1
        echoed = [last if b == last and a == 0 else a for a, b in zip(echoed, sent, strict=True)]
    same_ids(echoed, sent, "score")
    logprobs = log_probabilities((entry[0] for entry in entries[1:]), "score")
    return ScoreReply(
        logprobs=logprobs,
        usage=Usage(
            prompt_tokens=meta.prompt_tokens,
            cached_tokens=meta.cached_tokens,
            completion_tokens=meta.completion_tokens,
            scored_tokens=len(logprobs),
            time_to_first_token=meta.first_token_latency,
        ),
    )


def _ending(reason: FinishReason) -> tuple[Ending, str | None]:
    if reason.type == "length":
        return "length", None
    if reason.type == "stop":
        return ("stop", reason.matched) if isinstance(reason.matched, str) else ("eos", None)
    message = f"generation: ended by {reason.type[:80]!r}: {(reason.message or '')[:200]}"
    if reason.type == "abort":
        raise BackendUnavailableError(message)
    raise MalformedReplyError(message)


def _output_logprobs(
    reply: Reply,
) -> tuple[tuple[float, ...], tuple[dict[int, float], ...]]:
    meta = reply.meta_info
    sampled = meta.output_token_logprobs or []
    tops = meta.output_top_logprobs or []
    same_ids([entry[1] for entry in sampled], reply.output_ids, "generation")
    if len(tops) != len(sampled):
        raise MalformedReplyError(
            f"generation: {len(tops)} lists of alternatives for {len(sampled)} tokens"
        )
    alternatives = tuple(
        {id_: value for value, id_, _ in top or () if value is not None and value > IMPOSSIBLE}
        for top in tops
    )
    return log_probabilities((entry[0] for entry in sampled), "generation"), alternatives
