"""The SGLang backend: one model behind one server's `/generate`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from atts_harness import guards
from atts_harness.backend import (
    BackendSpec,
    Capabilities,
    GenerateReply,
    GenerateRequest,
    Sampling,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.engines.backend import EngineBackend, unreachable
from atts_harness.engines.http import EngineHttp, wants_key
from atts_harness.engines.managed import speculative
from atts_harness.engines.options import open_tokenizer, request_headers
from atts_harness.engines.replies import decoder
from atts_harness.engines.served import (
    SAMPLE_TEXT,
    Served,
    check_model,
    check_tokenizer,
    check_window,
)
from atts_harness.engines.servers import Server
from atts_harness.errors import BackendError, BadRequestError, MalformedReplyError, SettingError
from atts_sglang.options import VERSIONS, SGLangOptions
from atts_sglang.speculation import speculation_flags
from atts_sglang.wire import (
    Reply,
    generate_payload,
    read_generate,
    read_score,
    request_ids,
    score_payload,
)

T = TypeVar("T")
GENERATE = decoder(Reply)
# The scheduler keeps a few positions of the window to itself.
RESERVED_POSITIONS = 7


class ModelInfo(msgspec.Struct):
    """What `/model_info` says."""

    model_path: str
    served_model_name: str | None = None
    tokenizer_path: str | None = None
    weight_version: str | None = None  # other than `default` once weights were exchanged


class ServerInfo(msgspec.Struct):
    """What `/server_info` says; older servers say less."""

    version: str | None = None
    served_model_name: str | None = None
    dtype: str | None = None
    revision: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    speculative_algorithm: str | None = None
    max_req_input_len: int | None = None
    disable_radix_cache: bool = False
    enable_mixed_chunk: bool = False
    enable_priority_scheduling: bool = False
    schedule_low_priority_values_first: bool = False


class SglangModels(msgspec.Struct):
    """What `/v1/models` says."""

    class Model(msgspec.Struct):
        """One of them."""

        id: str
        max_model_len: int | None = None

    data: list[Model]


class SglangTokens(msgspec.Struct):
    """What `/tokenize` says."""

    tokens: list[int]


class SGLangBackend(EngineBackend):
    """One model behind an SGLang server."""

    versions = VERSIONS

    def __init__(
        self,
        http: EngineHttp,
        tokenizer: Any,
        max_length: int,
        served: Served,
        ask: Callable[[], Awaitable[Served]],
        server: Server | None,
        info: ServerInfo,
    ) -> None:
        super().__init__(http, tokenizer, max_length, served, ask, server)
        self.capabilities = self._able(mixed_steps=info.enable_mixed_chunk)
        self._eos_ids = sorted(tokenizer.eos_ids)
        self._tempered = True
        self._rids = request_ids()
        self._prefers_low: bool | None = (
            info.schedule_low_priority_values_first if info.enable_priority_scheduling else None
        )

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`. Cancelling the task frees the engine."""
        self.guard(request)
        rid = next(self._rids)
        payload = generate_payload(
            request,
            rid,
            eos_ids=self._eos_ids,
            seeds=self.capabilities.seeds,
            priority=self._priority(request.priority),
        )
        return read_generate(await self._post(payload, rid), request, tempered=self._tempered)

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on."""
        self.guard(request)
        rid = next(self._rids)
        payload = score_payload(request, rid, priority=self._priority(request.priority))
        return read_score(await self._post(payload, rid), request, self.tokenizer.vocab_size)

    def _priority(self, ours: int) -> int | None:
        """The server's sense of a priority; by default a larger number runs first there."""
        if self._prefers_low is None:
            return None
        return ours if self._prefers_low else -ours

    async def _post(self, payload: dict[str, Any], rid: str) -> Reply:
        try:
            reply: Reply = await self.send("/generate", payload, GENERATE)
            if reply.meta_info.id not in (None, rid):
                raise MalformedReplyError(
                    f"{self.http.name}: the reply to request {rid} is that to "
                    f"{str(reply.meta_info.id)[:80]!r}"
                )
            return reply
        except (asyncio.CancelledError, BackendError):
            # A server notices a dropped connection only after seconds; and a request that was
            # given up for any reason must not run on beside its retry.
            self.later(functools.partial(self._abort, rid))
            raise

    async def _abort(self, rid: str) -> None:
        await self.http.exchange(
            "POST", "/abort_request", msgspec.json.encode({"rid": rid, "abort_all": False})
        )

    async def find_out(self) -> None:
        """Learn from a few requests of a few tokens what this server does.

        Whether it takes seeds and honours them, whether it scales log-probabilities of generated
        tokens by the temperature, whether a score reads the prefix cache.

        Raises:
            SettingError: it does not do what a backend needs.
        """
        prompt = self.tokenizer.encode(SAMPLE_TEXT)
        request = GenerateRequest(
            ids=prompt, max_tokens=8, sampling=Sampling(temperature=2.0), seed=11, top_logprobs=1
        )
        self.capabilities = self._able(seeds=True)
        self._tempered = False
        try:
            first = await guards.generate(self, request)
        except BadRequestError as error:
            if "seed" not in str(error):
                raise
            self.capabilities = self._able(seeds=False)
            first = await guards.generate(self, request)
        again = await guards.generate(self, request)
        other = await guards.generate(self, msgspec.structs.replace(request, seed=12))
        score = await guards.score(self, ScoreRequest(ids=prompt + first.ids, start=len(prompt)))
        seeds = self.capabilities.seeds and first.ids == again.ids != other.ids
        if first.logprobs is None:
            raise MalformedReplyError("generation: log-probabilities are missing")
        self._tempered = any(
            abs(a - b) > 0.25 for a, b in zip(first.logprobs, score.logprobs, strict=True)
        )
        reads = score.usage.cached_tokens is not None and score.usage.cached_tokens > 0
        self.capabilities = self._able(seeds=seeds, scores_read_cache=reads)
        await self.settle(seeds=seeds, scores_read_cache=reads, tempered_logprobs=self._tempered)

    def _able(self, **abilities: bool) -> Capabilities:
        return msgspec.structs.replace(self.capabilities, **abilities)


async def answers(http: EngineHttp, spec: BackendSpec[SGLangOptions]) -> object:
    """A one-token request; id 0 is in every vocabulary."""
    body = {"input_ids": [0], "sampling_params": {"max_new_tokens": 1, "temperature": 0.0}}
    return await http.post("/generate", body, GENERATE)


async def recognise(url: str, headers_env: str | None = None) -> bool:
    """Whether an SGLang server answers, recognised by its routes about the model.

    Raises:
        BackendError: nothing answers, or it asks for a key.
    """
    try:
        headers = request_headers(SGLangOptions(url=url, headers_env=headers_env))
        async with contextlib.aclosing(EngineHttp(url, headers=headers)) as http:
            await _get(http, ("/model_info", "/get_model_info"), ModelInfo)
    except (BadRequestError, MalformedReplyError) as error:
        if wants_key(error):
            raise
        return False
    return True


async def connect(
    spec: BackendSpec[SGLangOptions], http: EngineHttp, server: Server | None
) -> SGLangBackend:
    """A backend on a running server, after every check that can be made before a real request.

    Raises:
        SettingError: unreachable, another model, another tokenizer, too small a window.
    """
    try:
        model, info = await _identify(http)
        VERSIONS.check(info.version, f"{spec.role}_url")
        window = await _window(spec, http, info)
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    served = _served(spec, http, model, info)
    tokenizer = await asyncio.to_thread(
        open_tokenizer, spec, model.tokenizer_path or model.model_path
    )
    max_length = check_window(spec, window)

    async def ask() -> Served:
        model_info, server_info = await _identify(http)
        return _served(spec, http, model_info, server_info)

    backend = SGLangBackend(http, tokenizer, max_length, served, ask, server, info)
    try:
        check_tokenizer(spec, tokenizer, await _tokenize(http))
        await backend.find_out()
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    return backend


def _served(
    spec: BackendSpec[SGLangOptions], http: EngineHttp, model: ModelInfo, info: ServerInfo
) -> Served:
    """What the server says of itself.

    Raises:
        SettingError: it serves another model than the one that was asked for.
    """
    candidates = [model.served_model_name, info.served_model_name, model.model_path]
    names = list(dict.fromkeys(name for name in candidates if name))
    check_model(spec, http, names)
    drafted = speculative(spec.options, speculation_flags(spec.options))
    if info.speculative_algorithm is not None:
        drafted.setdefault("speculative-algorithm", info.speculative_algorithm)
    unquantized = None if info.version is None else "none"  # a router hides what there is
    cache = info.kv_cache_dtype
    return Served(
        engine="sglang",
        name=names[0] if names else model.model_path,
        model=model.model_path,
        version=info.version,
        revision=info.revision,
        dtype=info.dtype,
        quantization=info.quantization or unquantized,
        kv_cache_dtype=None if cache == "auto" else cache,
        adapter=None if model.weight_version in (None, "default") else model.weight_version,
        speculative=drafted or None,
    )


async def _identify(http: EngineHttp) -> tuple[ModelInfo, ServerInfo]:
    """What the server says of itself; a router hides most of it."""
    model = await _get(http, ("/model_info", "/get_model_info"), ModelInfo)
    try:
        info = await _get(http, ("/server_info", "/get_server_info"), ServerInfo)
    except BadRequestError:
        info = ServerInfo()
    return model, info


async def _get(http: EngineHttp, paths: tuple[str, ...], kind: type[T]) -> T:
    """The first of several routes that exists; older releases have other names."""
    for path in paths[:-1]:
        try:
            return await http.get(path, kind)
        except BadRequestError:
            continue
    return await http.get(paths[-1], kind)


async def _window(spec: BackendSpec[SGLangOptions], http: EngineHttp, info: ServerInfo) -> int:
    if info.max_req_input_len is not None:
        return info.max_req_input_len - 1  # the scheduler refuses this length itself
    models = await http.get("/v1/models", SglangModels)
    length = models.data[0].max_model_len if models.data else None
    if length is not None:
        return length - RESERVED_POSITIONS
    options = spec.options
    if options.max_length is None:
        raise SettingError(
            f"{spec.role}_max_length: the server, or the router before it, does not say its "
            "context window; give it in tokens"
        )
    return options.max_length


async def _tokenize(http: EngineHttp) -> list[int]:
    """Ids that the server makes of a text."""
    body: dict[str, Any] = {"prompt": SAMPLE_TEXT, "add_special_tokens": False, "model": ""}
    try:
        return (await http.post("/tokenize", body, SglangTokens)).tokens
    except BadRequestError:
        # An older server: let it say what it scored.
        body = {
            "text": SAMPLE_TEXT,
            "sampling_params": {"max_new_tokens": 1, "temperature": 1.0},
            "return_logprob": True,
            "logprob_start_len": 0,
        }
        reply = await http.post("/generate", body, GENERATE)
        return [entry[1] for entry in reply.meta_info.input_token_logprobs or []]
