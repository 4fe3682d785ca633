"""Requests and replies of the completions route, in the many forms that servers use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from atts_harness.backend import GenerateRequest, Usage
from atts_harness.engines.replies import IMPOSSIBLE, decode, decoder
from atts_harness.errors import MalformedReplyError

_TOKEN_ID = re.compile(r"token_id:([0-9]{1,18})")
# Neither is in OpenAI's own API; servers that know them then tell ids instead of texts.
ASK_FOR_IDS = {
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}


class PromptTokensDetails(msgspec.Struct):
    """Part of `usage`."""

    cached_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """`usage` of a reply."""

    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None

    @property
    def cached_tokens(self) -> int | None:
        """Tokens from a prefix cache; None if the server does not say."""
        return (
            None if self.prompt_tokens_details is None else self.prompt_tokens_details.cached_tokens
        )


class Logprobs(msgspec.Struct):
    """`logprobs` of a choice."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


class PromptLogprob(msgspec.Struct):
    """One entry of `prompt_logprobs`."""

    logprob: float


class Choice(msgspec.Struct):
    """One completion; which fields there are depends on the server."""

    text: str
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    stop_reason: int | str | None = None
    matched_stop: int | str | None = None
    logprobs: Logprobs | None = None
    prompt_logprobs: list[msgspec.Raw] | None = None


class Completion(msgspec.Struct):
    """A reply."""

    choices: list[Choice]
    usage: WireUsage

    @property
    def choice(self) -> Choice:
        """The only completion.

        Raises:
            MalformedReplyError: there is none, or several.
        """
        if len(self.choices) != 1:
            raise MalformedReplyError(f"completion: {len(self.choices)} choices instead of one")
        return self.choices[0]


ENTRY: msgspec.json.Decoder[dict[int, PromptLogprob] | None] = decoder(
    dict[int, PromptLogprob] | None
)


def sampling_fields(
    request: GenerateRequest, neutral: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fields of a generation.

    Args:
        request: what is asked.
        neutral: what keeps the model's own sampling defaults out, as this server takes it.
    """
    drawn = request.sampling
    fields: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": drawn.temperature,
        "top_p": drawn.top_p,
        **(neutral or {}),
    }
    if drawn.top_k:
        fields["top_k"] = drawn.top_k
    if drawn.min_p:
        fields["min_p"] = drawn.min_p
    if request.seed is not None:
        fields["seed"] = request.seed % 2**63
    if request.top_logprobs:
        fields["logprobs"] = request.top_logprobs
    return fields


def returned_ids(choice: Choice) -> list[int] | None:
    """Generated ids if the server tells them, in either way."""
    if choice.token_ids is not None:
        return choice.token_ids
    if choice.logprobs is not None and choice.logprobs.tokens:
        ids = [token_id(token) for token in choice.logprobs.tokens]
        return None if None in ids else [id_ for id_ in ids if id_ is not None]
    return None


def token_id(token: str) -> int | None:
    """N of `token_id:N`."""
    named = _TOKEN_ID.fullmatch(token)
    return None if named is None else int(named[1])


def alternatives(choice: Choice, count: int) -> tuple[dict[int, float], ...] | None:
    """The most likely ids of each generated token; None if the server tells texts only."""
    logprobs = choice.logprobs
    if logprobs is None or logprobs.top_logprobs is None:
        return None
    positions = []
    for top in logprobs.top_logprobs:
        best = sorted((top or {}).items(), key=lambda item: -item[1])[:count]
        ids = {token_id(token): value for token, value in best if value > IMPOSSIBLE}
        if None in ids:
            return None
        positions.append({id_: value for id_, value in ids.items() if id_ is not None})
    return tuple(positions)


def prompt_values(choice: Choice, ids: Sequence[int], start: int) -> list[float | None]:
    """Log-probabilities of a prompt's ids from `start` on, from `prompt_logprobs` or an echo.

    Raises:
        MalformedReplyError: there are none, or not of these tokens.
    """
    if choice.prompt_logprobs is not None:
        entries = choice.prompt_logprobs
        if len(entries) != len(ids):
            raise MalformedReplyError(f"score: {len(entries)} entries for {len(ids)} tokens")
        # Every token of the context is named; only the segment's entries are worth decoding.
        of_tokens = [
            (decode(entries[n], ENTRY, "score") or {}).get(ids[n]) for n in range(start, len(ids))
        ]
        return [None if entry is None else entry.logprob for entry in of_tokens]
    echo = choice.logprobs
    # With `max_tokens` 1 the generated token stands behind the echo.
    if echo is None or not len(ids) <= len(echo.token_logprobs) <= len(ids) + 1:
        count = "no" if echo is None else len(echo.token_logprobs)
        raise MalformedReplyError(f"score: {count} echoed tokens for {len(ids)}")
    for n, token in enumerate(echo.tokens[: len(ids)]):
        told_id = token_id(token)
        if told_id is not None and told_id != ids[n]:
            raise MalformedReplyError(f"score: token {n} is {told_id} instead of {ids[n]}")
    return list(echo.token_logprobs[start : len(ids)])


def usage_of(reply: Completion, *, generated: int, scored: int = 0) -> Usage:
    """A reply's usage; the token that a score has to generate costs no forward pass."""
    return Usage(
        prompt_tokens=reply.usage.prompt_tokens,
        cached_tokens=reply.usage.cached_tokens,
        completion_tokens=generated,
        scored_tokens=scored,
    )
