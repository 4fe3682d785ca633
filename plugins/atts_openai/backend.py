"""The OpenAI-compatible backend."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from atts_harness import neutral
from atts_harness.backend import (
    BackendSpec,
    Capabilities,
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.engines.backend import EngineBackend, unreachable
from atts_harness.engines.http import EngineHttp, wants_key
from atts_harness.engines.options import open_tokenizer, request_headers
from atts_harness.engines.replies import log_probabilities
from atts_harness.engines.served import Served, check_window, output_ids, pick_model
from atts_harness.engines.servers import Server
from atts_harness.errors import (
    BackendError,
    BackendUnavailableError,
    BadRequestError,
    MalformedReplyError,
    RefusedError,
    SettingError,
)
from atts_harness.transcript import Ending
from atts_harness.weights import model_folder
from atts_openai import wire
from atts_openai.dialect import COMPLETION, Dialect, find_dialect, named_stop, need_ids
from atts_openai.drawing import generation_config
from atts_openai.options import OpenAIOptions

logger = neutral.logger("atts_harness.engines")

LEAST_ALTERNATIVES = 5  # what OpenAI's own API allows


class ModelList(msgspec.Struct):
    """What `/models` says."""

    class Model(msgspec.Struct):
        """One of them; the window is an extension."""

        id: str
        root: str | None = None
        max_model_len: int | None = None

    data: list[Model]


class OpenAIBackend(EngineBackend):
    """One model behind a completions route."""

    def __init__(
        self,
        http: EngineHttp,
        tokenizer: Any,
        max_length: int,
        served: Served,
        ask: Callable[[], Awaitable[Served]],
        path: str,
        dialect: Dialect,
    ) -> None:
        super().__init__(http, tokenizer, max_length, served, ask)
        self._path = path
        self._dialect = dialect
        self.capabilities = Capabilities(
            scores=dialect.score is not None,
            scores_read_cache=False,
            seeds=dialect.seeds,
            top_logprobs=LEAST_ALTERNATIVES if dialect.alternatives else 0,
            output_ids=output_ids(tokenizer),
            counts_ids=dialect.takes_ids and dialect.tells_ids,
        )

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`. Cancelling the task drops the connection.

        A server that does not tell which stop string ended a text is sent none: the text is cut
        here, and the usage counts all that was generated.
        """
        self.guard(request)
        dialect = self._dialect
        dialect.drawing.check(request.sampling, self.http.name)
        neutral_fields = dict(dialect.drawing.neutral)
        fields = wire.sampling_fields(request, neutral_fields) | dict(dialect.asks_ids)
        if request.stop and dialect.tells_stop:
            fields["stop"] = list(request.stop)
        payload = {"model": self.served_model, "prompt": self._prompt(request.ids), **fields}
        reply = await self.send(self._path, payload, COMPLETION)
        ids, ending, stop = self._read(reply.choice, request)
        logprobs = reply.choice.logprobs
        complete = logprobs is not None and len(logprobs.token_logprobs) == len(ids)
        with_alternatives = request.top_logprobs and complete and logprobs is not None
        return GenerateReply(
            ids=tuple(ids),
            ending=ending,
            stop=stop,
            logprobs=log_probabilities(logprobs.token_logprobs, "generation")
            if with_alternatives and logprobs is not None
            else None,
            top_logprobs=wire.alternatives(reply.choice, request.top_logprobs)
            if with_alternatives
            else None,
            usage=wire.usage_of(reply, generated=reply.usage.completion_tokens),
        )

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on, by prompt log-probabilities or an echo.

        Raises:
            BadRequestError: this server gives no log-probabilities of prompt tokens.
        """
        if self._dialect.score is None:
            raise BadRequestError(
                f"{self.http.name}: this server cannot score; it may serve as a draft only"
            )
        self.guard(request, reserve=1)
        payload = {
            "model": self.served_model,
            "prompt": request.ids,
            "temperature": 1.0,
            **dict(self._dialect.score),
        }
        if self._dialect.asks_ids:
            payload["return_tokens_as_token_ids"] = True
        reply = await self.send(self._path, payload, COMPLETION)
        values = wire.prompt_values(reply.choice, request.ids, request.start)
        logprobs = log_probabilities(values, "score")
        return ScoreReply(
            logprobs=logprobs, usage=wire.usage_of(reply, generated=0, scored=len(logprobs))
        )

    def _prompt(self, ids: tuple[int, ...]) -> Any:
        if self._dialect.takes_ids:
            return ids
        named = set(self.tokenizer.named.values())
        # The server puts the beginning of the text before it by itself.
        cut = 1 if self._dialect.adds_first and ids[0] in named else 0
        return self.tokenizer.decode(ids[cut:])

    def _read(
        self, choice: wire.Choice, request: GenerateRequest
    ) -> tuple[list[int], Ending, str | None]:
        """Ids, ending and stop string of a completion."""
        if choice.finish_reason not in ("stop", "length"):
            message = f"generation: ended by {str(choice.finish_reason)[:80]!r}"
            raise (
                BackendUnavailableError if choice.finish_reason == "abort" else MalformedReplyError
            )(message)
        if self._dialect.tells_ids:
            ids = need_ids(choice)
            ends = [n for n, id_ in enumerate(ids, 1) if id_ in self.tokenizer.eos_ids]
            if ends and ends[0] < len(ids):
                # The server does not know what ends a turn: the model wrote on behind its end.
                return ids[: ends[0]], "eos", None
        else:
            ids = list(self.tokenizer.encode(choice.text))
            if len(ids) > request.max_tokens:
                # The same text in other tokens: what is kept stays within the budget.
                return ids[: request.max_tokens], "length", None
        ending: Ending = "length" if choice.finish_reason == "length" else "eos"
        stop = named_stop(choice)
        if stop is not None:
            return ids, "stop", stop
        if request.stop and not self._dialect.tells_stop:
            ids, stop = self._cut(ids, request.stop)
            ending = "stop" if stop is not None else ending
        if not ids:
            # An immediate end of turn is legitimate, and told by the token that a text lacks.
            if ending != "eos" or not self.tokenizer.eos_ids:
                raise MalformedReplyError("generation: an empty completion that did not end")
            ids = [min(self.tokenizer.eos_ids)]
        return ids, ending, stop

    def _cut(self, ids: list[int], stops: tuple[str, ...]) -> tuple[list[int], str | None]:
        """Ids up to the token that completes the first stop string in the text."""
        text = self.tokenizer.decode(ids)
        ends = [(text.find(stop) + len(stop), stop) for stop in stops if stop in text]
        if not ends:
            return ids, None
        end, stop = min(ends)
        count = next(
            n for n in range(1, len(ids) + 1) if len(self.tokenizer.decode(ids[:n])) >= end
        )
        return ids[:count], stop


async def recognise(url: str, headers_env: str | None = None) -> bool:
    """Whether it lists models as OpenAI's API does.

    Raises:
        BackendError: nothing answers, or it asks for a key.
    """
    try:
        headers = request_headers(OpenAIOptions(url=url, headers_env=headers_env))
        async with contextlib.aclosing(EngineHttp(url, headers=headers)) as http:
            await http.get("/v1/models", ModelList)
    except (BadRequestError, MalformedReplyError) as error:
        if wants_key(error):
            raise
        return False
    return True


async def connect(
    spec: BackendSpec[OpenAIOptions], http: EngineHttp, server: Server | None
) -> OpenAIBackend:
    """A backend on a running server, after every check that can be made before a real request.

    Raises:
        SettingError: unreachable, another model, another tokenizer, no known window.
    """
    options = spec.options
    try:
        listed = await _list(http)
        served = _served(spec, http, listed)
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    if served.window is None and options.max_length is None:
        raise SettingError(
            f"{spec.role}_max_length: the server does not say its context window; give it in tokens"
        )
    max_length = check_window(spec, served.window or options.max_length or 0)
    tokenizer = await asyncio.to_thread(open_tokenizer, spec, served.model)

    async def ask() -> Served:
        now = await _list(http)
        if listed and not now:
            raise BackendUnavailableError(f"{http.name}: the server lists no models any more")
        return _served(spec, http, now)

    path = "/v1/completions"
    try:
        dialect = await find_dialect(http, path, served.name, tokenizer)
        backend = OpenAIBackend(http, tokenizer, max_length, served, ask, path, dialect)
        configured = generation_config(model_folder(served.model, served.revision))
        notice = dialect.drawing.left_to_the_server(configured)
        if notice is not None:
            logger.warning("%s: %s", http.name, notice)
        await backend.settle(
            dialect=msgspec.to_builtins(dialect),
            drawing={
                "told": dict(dialect.drawing.neutral),
                "takes": list(dialect.drawing.filters),
                "left_to_the_server": notice or "nothing",
            },
        )
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    except SettingError as error:
        raise SettingError(f"{spec.role}_{error}") from error
    return backend


async def _list(http: EngineHttp) -> list[ModelList.Model]:
    """The models that the server lists; not every server does.

    Raises:
        BackendError: it cannot be reached.
    """
    try:
        return (await http.get("/v1/models", ModelList)).data
    except RefusedError as error:
        if error.status not in (404, 405):
            raise
        return []


def _served(
    spec: BackendSpec[OpenAIOptions], http: EngineHttp, models: list[ModelList.Model]
) -> Served:
    """What the server says of the model to ask for.

    Raises:
        SettingError: it serves another model.
    """
    options = spec.options
    name = options.served_model_name or spec.model
    if models:
        model = pick_model(spec, http, models)
        root = model.root or model.id
        return Served("openai", model.id, root, model.max_model_len, revision=options.revision)
    if name is None:
        raise SettingError(
            f"{spec.role}_served_model_name: the server lists no models; give the name to ask for"
        )
    return Served("openai", name, name, revision=options.revision)
