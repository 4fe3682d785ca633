"""Finding out which dialect of the completions route a server speaks, by trying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from atts_harness.engines.http import EngineHttp
from atts_harness.engines.replies import decoder, log_probabilities
from atts_harness.engines.served import SAMPLE_TEXT
from atts_harness.errors import AttsError, BadRequestError, MalformedReplyError, SettingError
from atts_harness.tokenizer import Tokenizer
from atts_openai import wire
from atts_openai.drawing import NOTHING_KNOWN, Draw, ServerSampling, find_drawing

T = TypeVar("T")
COMPLETION: msgspec.json.Decoder[wire.Completion] = decoder(wire.Completion)
# Ways to get log-probabilities of a prompt, cheapest reply first.
SCORE_WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("prompt_logprobs", {"prompt_logprobs": 0, "max_tokens": 1}),
    ("echo", {"echo": True, "logprobs": 1, "max_tokens": 0}),
    ("echo of one more", {"echo": True, "logprobs": 1, "max_tokens": 1}),
)
AGREEMENT = 0.5
TRIED_TOKENS = 8


@dataclass(frozen=True)
class Dialect:
    """What a server does.

    Attributes:
        takes_ids: whether prompts may be ids; otherwise they are sent as text.
        adds_first: whether the server adds a beginning-of-text token before a text.
        drawing: how the server samples.
        asks_ids: request fields that make it return ids; empty if it refuses them.
        tells_ids: whether it returns generated ids; otherwise the text is encoded here.
        tells_stop: whether it names the stop text that ended; otherwise texts are cut here.
        score: request fields of a score; None if it cannot score.
        score_way: name of this way to score.
        seeds: whether equal seeds give equal tokens.
        alternatives: whether it returns log-probabilities of generated tokens by id.
    """

    takes_ids: bool = True
    adds_first: bool = False
    drawing: ServerSampling = NOTHING_KNOWN
    asks_ids: tuple[tuple[str, Any], ...] = ()
    tells_ids: bool = False
    tells_stop: bool = False
    score: tuple[tuple[str, Any], ...] | None = None
    score_way: str = "none"
    seeds: bool = False
    alternatives: bool = False


async def find_dialect(http: EngineHttp, path: str, model: str, tokenizer: Tokenizer) -> Dialect:
    """Try a server out, with prompts of a few tokens.

    Raises:
        SettingError: it takes neither ids nor the text as the local tokenizer splits it.
        BackendError: it does not answer.
    """
    ids = tokenizer.encode(SAMPLE_TEXT)
    tries = Tries(http, path, model)
    asks, reply, takes_ids = await _first_reply(tries, ids)
    extra = await _extra_tokens(tries, ids, asks)
    prompt: Any = list(ids) if takes_ids else SAMPLE_TEXT
    again = await tries.generate(prompt, asks, seed=11)
    other = await tries.generate(prompt, asks, seed=12)
    generated = wire.returned_ids(reply.choice)
    way, score = "none", None
    if takes_ids and generated is not None:
        way, score = await _find_score(tries, [*ids, *generated], len(ids), reply)
    return Dialect(
        takes_ids=takes_ids,
        adds_first=extra == 1,
        drawing=await find_drawing(tries.draw(prompt)),
        asks_ids=tuple(asks.items()),
        tells_ids=generated is not None,
        tells_stop=await _tells_stop(tries, prompt, asks),
        score=score,
        score_way=way,
        seeds=reply.choice.text == again.choice.text != other.choice.text,
        alternatives=wire.alternatives(reply.choice, 1) is not None,
    )


async def _extra_tokens(tries: Tries, ids: Sequence[int], asks: dict[str, Any]) -> int:
    """Tokens that the server puts before a text: 0 or 1; texts must be split as the local way.

    Raises:
        SettingError: they are split in another way.
    """
    fields = {"prompt": SAMPLE_TEXT, "max_tokens": 1, "temperature": 0.0, **asks}
    try:
        completion = await tries.ask(fields, TEXT_PROMPT)
    except BadRequestError:
        return 0  # it takes ids only, so it never splits texts
    theirs = completion.choices[0].prompt_token_ids if completion.choices else None
    extra = completion.usage.prompt_tokens - len(ids)
    if extra not in (0, 1) or (theirs is not None and tuple(theirs[-len(ids) :]) != tuple(ids)):
        raise SettingError(
            "tokenizer: the server splits a sample text into "
            f"{completion.usage.prompt_tokens} tokens, the local tokenizer into {len(ids)} or "
            "others; give the served model's own with `tokenizer`"
        )
    return extra


class TextPrompt(msgspec.Struct):
    """A reply to a prompt of text; some servers tell its ids."""

    class Choice(msgspec.Struct):
        """One completion."""

        prompt_token_ids: list[int] | None = None

    choices: list[Choice]
    usage: wire.WireUsage


TEXT_PROMPT: msgspec.json.Decoder[TextPrompt] = decoder(TextPrompt)


class Tries:
    """Small requests to one server."""

    def __init__(self, http: EngineHttp, path: str, model: str) -> None:
        self._http = http
        self._path = path
        self._model = model

    async def send(self, fields: dict[str, Any]) -> wire.Completion:
        """One request."""
        return await self.ask(fields, COMPLETION)

    async def ask(self, fields: dict[str, Any], kind: msgspec.json.Decoder[T]) -> T:
        """One request, its reply decoded as `kind`."""
        return await self._http.post(self._path, {"model": self._model, **fields}, kind)

    async def generate(self, prompt: Any, asks: dict[str, Any], seed: int) -> wire.Completion:
        """A short varied text."""
        fields = {"max_tokens": TRIED_TOKENS, "temperature": 1.0, "seed": seed, "logprobs": 1}
        return await self.send({"prompt": prompt, **fields, **asks})

    def draw(self, prompt: Any) -> Draw:
        """A short text by other fields."""

        async def text(fields: dict[str, Any]) -> str:
            completion = await self.send({"prompt": prompt, "max_tokens": TRIED_TOKENS, **fields})
            return completion.choice.text

        return text


async def _first_reply(
    tries: Tries, ids: Sequence[int]
) -> tuple[dict[str, Any], wire.Completion, bool]:
    refused: BadRequestError | None = None
    for prompt in (list(ids), SAMPLE_TEXT):
        for asks in (wire.ASK_FOR_IDS, {}):
            try:
                reply = await tries.generate(prompt, asks, seed=11)
            except BadRequestError as error:
                refused = error
                continue
            return asks, reply, not isinstance(prompt, str)
    assert refused is not None
    raise refused


async def _find_score(
    tries: Tries, ids: list[int], start: int, reply: wire.Completion
) -> tuple[str, tuple[tuple[str, Any], ...] | None]:
    """The first way to score that agrees with the log-probabilities of a generation."""
    if reply.choice.logprobs is None:
        return "none", None  # nothing to compare with: it may be used as a draft only
    of_reply = reply.choice.logprobs.token_logprobs
    for way, fields in SCORE_WAYS:
        request = {"prompt": ids, "temperature": 1.0, **fields}
        try:
            completion = await tries.send(request | {"return_tokens_as_token_ids": True})
            values = log_probabilities(wire.prompt_values(completion.choice, ids, start), "score")
            agrees = all(
                abs(a - (b or 0.0)) < AGREEMENT for a, b in zip(values, of_reply, strict=True)
            )
        except (AttsError, ValueError):
            continue  # refused, ignored, or of another number of tokens: the next way
        if agrees:
            return way, tuple(fields.items())
    return "none", None


async def _tells_stop(tries: Tries, prompt: Any, asks: dict[str, Any]) -> bool:
    """Whether a reply names the stop text that ended it."""
    fields = {"prompt": prompt, "max_tokens": TRIED_TOKENS, "temperature": 0.0, **asks}
    text = (await tries.send(fields)).choice.text.strip()
    if not text:
        return False
    choice = (await tries.send(fields | {"stop": [text[0]]})).choice
    return text[0] in (choice.stop_reason, choice.matched_stop)


def named_stop(choice: wire.Choice) -> str | None:
    """The stop string that ended a text, if the server names it."""
    for reason in (choice.stop_reason, choice.matched_stop):
        if isinstance(reason, str):
            return reason
    return None


def need_ids(choice: wire.Choice) -> list[int]:
    """Generated ids.

    Raises:
        MalformedReplyError: the server returned them before and does not now.
    """
    ids = wire.returned_ids(choice)
    if not ids:
        raise MalformedReplyError("completion: the reply has no token ids")
    return ids
