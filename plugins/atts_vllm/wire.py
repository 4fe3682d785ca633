"""Requests to vLLM's completions and tail-scoring routes, and what is read of replies."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from atts_harness.backend import GenerateReply, GenerateRequest, ScoreReply, ScoreRequest, Usage
from atts_harness.engines.replies import IMPOSSIBLE, decoder, log_probabilities, same_ids
from atts_harness.errors import BackendUnavailableError, MalformedReplyError
from atts_harness.ids import as_json
from atts_harness.transcript import Ending

_TOKEN_ID = re.compile(r"token_id:([0-9]{1,18})")
# By this name the engine plugin is told where a segment begins.
SCORE_FROM = "atts_score_from"


class VllmPromptTokensDetails(msgspec.Struct):
    """Present with `--enable-prompt-tokens-details`."""

    cached_tokens: int | None = None


class VllmUsage(msgspec.Struct):
    """`usage` of a reply."""

    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: VllmPromptTokensDetails | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Tokens from the prefix cache; None if the server does not say."""
        details = self.prompt_tokens_details
        return None if details is None else details.cached_tokens


class VllmLogprobs(msgspec.Struct):
    """Log-probabilities of generated tokens; tokens are written `token_id:N`."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


class VllmChoice(msgspec.Struct):
    """One completion."""

    finish_reason: str | None
    token_ids: list[int] | None = None
    stop_reason: int | str | None = None
    logprobs: VllmLogprobs | None = None


class Speculation(msgspec.Struct):
    """What the engine's own speculative decoding did for one request."""

    num_draft_tokens: int | None = None
    num_accepted_draft_tokens: int | None = None


class VllmRequestMetrics(msgspec.Struct):
    """A request's own figures."""

    speculative_decoding: Speculation | None = None


class VllmCompletion(msgspec.Struct):
    """A reply to a generation."""

    choices: list[VllmChoice]
    usage: VllmUsage
    metrics: VllmRequestMetrics | None = None


class ScoredChoice(msgspec.Struct):
    """A completion whose prompt's log-probabilities are decoded only where they are needed."""

    prompt_logprobs: list[msgspec.Raw] | None = None


class ScoredCompletion(msgspec.Struct):
    """A reply to a score."""

    choices: list[ScoredChoice]
    usage: VllmUsage


class VllmPromptLogprob(msgspec.Struct):
    """One entry of `prompt_logprobs`."""

    logprob: float


class TailScore(msgspec.Struct):
    """A reply of the tail-scoring route; the array comes as a base64 `.npy` file."""

    usage: VllmUsage
    prompt_token_id_logprobs: str | None = None


COMPLETION = decoder(VllmCompletion)
SCORED = decoder(ScoredCompletion)
TAIL = decoder(TailScore)
ENTRY = decoder(dict[int, VllmPromptLogprob])


def generate_payload(
    request: GenerateRequest, model: str, *, eos_ids: Sequence[int], priority: bool
) -> dict[str, Any]:
    """Body of a generation.

    Everything that a model's or a server's defaults could change is sent explicitly: vLLM takes
    sampling defaults from the model's generation config.

    Args:
        request: what is asked.
        model: served name.
        eos_ids: what ends a turn for the client; the server is to agree.
        priority: whether the server takes priorities.
    """
    payload: dict[str, Any] = {
        "model": model,
        "prompt": as_json(request.ids),
        "max_tokens": request.max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_k": request.sampling.top_k,
        "min_p": request.sampling.min_p,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": list(request.stop),
        "stop_token_ids": sorted(eos_ids),
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "return_token_ids": True,
    }
    if request.seed is not None:
        payload["seed"] = request.seed % 2**63
    if request.top_logprobs:
        payload |= {"logprobs": request.top_logprobs, "return_tokens_as_token_ids": True}
    if priority:
        payload["priority"] = request.priority
    return payload


def score_payload(
    request: ScoreRequest, model: str, *, priority: bool, tail: bool = False
) -> dict[str, Any]:
    """Body of a score by prompt log-probabilities.

    The whole context is computed anew: such a request never reads the prefix cache, and it must
    not be asked to (`skip_reading_prefix_cache` beside `prompt_logprobs` ends the engine). One
    token has to be generated; it costs no forward pass of its own.

    Args:
        request: what is asked.
        model: served name.
        priority: whether the server takes priorities.
        tail: say where the segment begins. A server with this project's engine plugin then reads
            the cache before it and returns the segment's rows alone; others ignore it.
    """
    payload: dict[str, Any] = {
        "model": model,
        "prompt": as_json(request.ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        "add_special_tokens": False,
    }
    if tail:
        payload["vllm_xargs"] = {SCORE_FROM: request.start}
    if priority:
        payload["priority"] = request.priority
    return payload


def tail_payload(
    request: ScoreRequest, model: str, *, priority: bool, read_cache: bool = True
) -> dict[str, Any]:
    """Body of a score that names the tokens to score, and so may read the prefix cache.

    Row i scores ids as predictions of position `prompt_logprob_start + i + 1`. Never put
    `prompt_logprobs` here: beside a cache that is read it ends the engine.
    """
    return {
        "model": model,
        "token_ids": as_json(request.ids),
        "sampling_params": {
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprob_token_ids": [[id_] for id_ in request.ids[request.start :]],
            "prompt_logprob_start": request.start - 1,
            "skip_reading_prefix_cache": not read_cache,
        },
        **({"priority": request.priority} if priority else {}),
    }


def read_generate(reply: VllmCompletion, request: GenerateRequest) -> GenerateReply:
    """A generation from its reply.

    Raises:
        BackendUnavailableError: the engine gave the request up.
        MalformedReplyError: the reply contradicts itself or lacks token ids.
    """
    if len(reply.choices) != 1:
        raise MalformedReplyError(f"generation: {len(reply.choices)} choices instead of one")
    choice = reply.choices[0]
    ending, stop = _ending(choice)
    ids = choice.token_ids
    if not ids or len(ids) != reply.usage.completion_tokens:
        raise MalformedReplyError(
            f"generation: ids {'missing' if ids is None else len(ids)} for "
            f"{reply.usage.completion_tokens} tokens (vLLM 0.10.2 or later returns them)"
        )
    logprobs = None
    alternatives = None
    if request.top_logprobs:
        logprobs, alternatives = _output_logprobs(choice, ids, request.top_logprobs)
    drafted = (reply.metrics.speculative_decoding if reply.metrics else None) or Speculation()
    return GenerateReply(
        ids=tuple(ids),
        ending=ending,
        stop=stop,
        logprobs=logprobs,
        top_logprobs=alternatives,
        usage=Usage(
            prompt_tokens=reply.usage.prompt_tokens,
            cached_tokens=reply.usage.cached_tokens,
            completion_tokens=len(ids),
            proposed_tokens=drafted.num_draft_tokens,
            accepted_tokens=drafted.num_accepted_draft_tokens,
        ),
    )


def read_score(reply: ScoredCompletion, request: ScoreRequest) -> ScoreReply:
    """A score from a reply with prompt log-probabilities, of every token or of the segment's.

    Raises:
        MalformedReplyError: not exactly those tokens, or a log-probability is not a number.
    """
    entries = reply.choices[0].prompt_logprobs if reply.choices else None
    segment = request.ids[request.start :]
    # The null that stands first is there in both.
    if entries is None or len(entries) not in (len(request.ids), 1 + len(segment)):
        count = "no" if entries is None else len(entries)
        raise MalformedReplyError(f"score: {count} entries for {len(request.ids)} tokens")
    values: list[float | None] = []
    for id_, entry in zip(segment, entries[-len(segment) :], strict=True):
        try:
            scored = ENTRY.decode(entry).get(id_)
        except msgspec.DecodeError as error:
            raise MalformedReplyError(f"score: {error}") from error
        values.append(None if scored is None else scored.logprob)
    logprobs = log_probabilities(values, "score")
    return ScoreReply(
        logprobs=logprobs,
        usage=Usage(
            prompt_tokens=reply.usage.prompt_tokens,
            cached_tokens=reply.usage.cached_tokens or 0,
            scored_tokens=len(logprobs),
        ),
    )


def whole(reply: ScoredCompletion, request: ScoreRequest) -> bool:
    """Whether a reply has an entry for every token of the context, not of the segment alone."""
    entries = reply.choices[0].prompt_logprobs if reply.choices else None
    return entries is not None and len(entries) == len(request.ids)


def read_tail(reply: TailScore, request: ScoreRequest) -> ScoreReply | None:
    """A score from a reply of the tail-scoring route; None if the engine dropped it.

    It does so when the cache reaches into the segment: what comes from the cache has no rows.

    Raises:
        MalformedReplyError: not exactly the segment's rows, or a log-probability is not a number.
    """
    if reply.prompt_token_id_logprobs is None:
        return None
    import numpy as np

    try:
        raw = base64.b64decode(reply.prompt_token_id_logprobs, validate=True)
        rows = np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise MalformedReplyError(f"score: {error}") from error
    shape = (len(request.ids) - request.start, 1)
    if rows.shape != shape:
        raise MalformedReplyError(f"score: an array of {rows.shape} instead of {shape}")
    logprobs = log_probabilities(rows[:, 0].tolist(), "score")
    return ScoreReply(
        logprobs=logprobs,
        usage=Usage(
            prompt_tokens=reply.usage.prompt_tokens,
            cached_tokens=reply.usage.cached_tokens,
            scored_tokens=len(logprobs),
        ),
    )


def _ending(choice: VllmChoice) -> tuple[Ending, str | None]:
    if choice.finish_reason == "length":
        return "length", None
    if choice.finish_reason == "stop":
        reason = choice.stop_reason
        return ("stop", reason) if isinstance(reason, str) else ("eos", None)
    message = f"generation: ended by {str(choice.finish_reason)[:80]!r}"
    if choice.finish_reason == "abort":
        raise BackendUnavailableError(message)
    raise MalformedReplyError(message)


def _output_logprobs(
    choice: VllmChoice, ids: Sequence[int], count: int
) -> tuple[tuple[float, ...], tuple[dict[int, float], ...]]:
    logprobs = choice.logprobs
    if logprobs is None or logprobs.top_logprobs is None or len(logprobs.top_logprobs) != len(ids):
        raise MalformedReplyError("generation: log-probabilities are missing")
    same_ids([_id(token) for token in logprobs.tokens], ids, "generation")
    alternatives = []
    for top in logprobs.top_logprobs:
        # The sampled token is among them, whether or not it is among the most likely ones.
        best = sorted((top or {}).items(), key=lambda item: -item[1])[:count]
        alternatives.append({_id(token): value for token, value in best if value > IMPOSSIBLE})
    return log_probabilities(logprobs.token_logprobs, "generation"), tuple(alternatives)


def _id(token: str) -> int:
    named = _TOKEN_ID.fullmatch(token)
    if named is None:
        raise MalformedReplyError(f"generation: {token[:80]!r} is not token_id:N")
    return int(named[1])
