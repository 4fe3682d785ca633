"""The vLLM backend: one model behind one server's completions route."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from atts_harness import guards, neutral
from atts_harness.backend import (
    BackendSpec,
    GenerateReply,
    GenerateRequest,
    Sampling,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.engines.backend import EngineBackend, unreachable
from atts_harness.engines.doctor.finding import Finding
from atts_harness.engines.http import EngineHttp, wants_key
from atts_harness.engines.managed import flags_by_name, speculative
from atts_harness.engines.metrics import process_start
from atts_harness.engines.options import open_tokenizer, request_headers
from atts_harness.engines.served import (
    SAMPLE_TEXT,
    Served,
    check_tokenizer,
    check_window,
    pick_model,
)
from atts_harness.engines.servers import Server
from atts_harness.errors import BackendError, BadRequestError, MalformedReplyError, SettingError
from atts_vllm import wire
from atts_vllm.options import VERSIONS, VLLMOptions
from atts_vllm.speculation import speculation_flags, wrong_draws

# By which way scores come, as `server.score_route` says it.
WHOLE = "/v1/completions prompt_logprobs"
PLUGIN = "/v1/completions prompt_logprobs, the segment only (atts_tail plugin)"
TAIL_ROUTE = "/inference/v1/generate"
# A GPU's blocks are smaller, unless somebody asks for large ones.
CPU_BLOCK = 128
CPU_CACHE = re.compile(
    rf'^vllm:cache_config_info\{{(?=.*\bblock_size="{CPU_BLOCK}")'
    r'(?=.*\buser_specified_block_size="False")',
    re.MULTILINE,
)
# Another way than WHOLE is trusted if it agrees with it: no token further off than the first of
# these (bf16 differs by 0.14), and the mean no further than the second.
AGREEMENT, MEAN_AGREEMENT = 0.5, 0.05
# Tokens of the probe's context: some blocks of the cache on every device (16 on a GPU, 128 else).
PROBE_TOKENS = 300
NOT_TRUSTED = "%s: scores do not use the engine's atts_tail plugin: %s"
logger = neutral.logger("atts_harness.engines")


class Model(msgspec.Struct):
    """One entry of `/v1/models`."""

    id: str
    owned_by: str = ""
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class VllmModels(msgspec.Struct):
    """What `/v1/models` says."""

    data: list[Model]


class Version(msgspec.Struct):
    """What `/version` says."""

    version: str


class VllmTokens(msgspec.Struct):
    """What `/tokenize` says."""

    tokens: list[int]


class VLLMBackend(EngineBackend):
    """One model behind a vLLM server."""

    versions = VERSIONS

    def __init__(
        self,
        http: EngineHttp,
        tokenizer: Any,
        max_length: int,
        served: Served,
        ask: Callable[[], Awaitable[Served]],
        server: Server | None,
    ) -> None:
        super().__init__(http, tokenizer, max_length, served, ask, server)
        self._eos_ids = sorted(tokenizer.eos_ids)
        self._priorities = False
        self.score_route = WHOLE
        self.wrong_draws = ""  # why nothing but the most probable token may be asked for

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`. Cancelling the task frees the engine: it sees the disconnect."""
        self.guard(request)
        if self.wrong_draws and request.sampling.temperature > 0:
            raise SettingError(self.wrong_draws)
        payload = wire.generate_payload(
            request, self.served_model, eos_ids=self._eos_ids, priority=self._priorities
        )
        reply = await self.send("/v1/completions", payload, wire.COMPLETION)
        return wire.read_generate(reply, request)

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on.

        On the tail-only route the reply lacks the tokens that the engine read from its prefix
        cache. If some of the segment are among them, the request is sent again without the cache,
        and the usage counts both requests.
        """
        self.guard(request, reserve=1)  # one token is generated behind the context
        if self.score_route != TAIL_ROUTE:
            tail = self.score_route == PLUGIN
            return wire.read_score(await self._prompt_logprobs(request, tail=tail), request)
        completion = await self._tail(request, read_cache=True)
        score = wire.read_tail(completion, request)
        if score is not None:
            return score
        again = await self._tail(request, read_cache=False)
        score = wire.read_tail(again, request)
        if score is None:
            raise BackendError("score: the server answers without log-probabilities")
        usage = msgspec.structs.replace(
            score.usage,
            prompt_tokens=completion.usage.prompt_tokens + again.usage.prompt_tokens,
            cached_tokens=(completion.usage.cached_tokens or 0) + (again.usage.cached_tokens or 0),
        )
        return msgspec.structs.replace(score, usage=usage)

    async def _prompt_logprobs(self, request: ScoreRequest, *, tail: bool) -> wire.ScoredCompletion:
        payload = wire.score_payload(
            request, self.served_model, priority=self._priorities, tail=tail
        )
        return await self.send("/v1/completions", payload, wire.SCORED)

    async def _tail(self, request: ScoreRequest, *, read_cache: bool) -> wire.TailScore:
        payload = wire.tail_payload(
            request, self.served_model, priority=self._priorities, read_cache=read_cache
        )
        return await self.send(TAIL_ROUTE, payload, wire.TAIL)

    async def find_out(self) -> None:
        """Learn from a few requests of a few tokens what this server does.

        Whether it honours seeds, takes priorities, and has a route that scores only the tail of
        a context. The first request with log-probabilities compiles for seconds, so this is a
        warm-up too.

        Raises:
            BackendError: it does not do what a backend needs.
        """
        prompt = self.tokenizer.encode(SAMPLE_TEXT)
        request = GenerateRequest(
            ids=prompt, max_tokens=8, sampling=Sampling(temperature=2.0), seed=11, top_logprobs=1
        )
        first = await guards.generate(self, request)
        again = await guards.generate(self, request)
        other = await guards.generate(self, msgspec.structs.replace(request, seed=12))
        self._priorities = await self._takes(msgspec.structs.replace(request, priority=1))
        reads = await self._choose_score_route(prompt)
        seeds = first.ids == again.ids != other.ids
        self.capabilities = msgspec.structs.replace(
            self.capabilities, seeds=seeds, scores_read_cache=reads
        )
        await self.settle(
            seeds=seeds,
            priorities=self._priorities,
            scores_read_cache=reads,
            score_route=self.score_route,
        )

    async def _choose_score_route(self, text: tuple[int, ...]) -> bool:
        """Find the cheapest way to score that agrees with the whole one.

        Each way scores the same segment behind a context that is then in the cache.

        Args:
            text: ids of plain text.

        Returns:
            Whether the way that is used reads the prefix cache.
        """
        # As long as the window allows: a token is generated behind it.
        ids = (text * (1 + PROBE_TOKENS // len(text)))[: max(2, self.max_length - 2)]
        request = ScoreRequest(ids=ids, start=max(1, len(ids) - len(text)))
        reference = await guards.score(self, request)
        if await self._can_score_tail(request, reference):
            self.score_route = TAIL_ROUTE
            return True
        if (cached := await self._plugin_scores(request, reference)) is None:
            return False
        self.score_route = PLUGIN
        return cached > 0

    async def remarks(self) -> Sequence[Finding]:
        """A remark if this looks like a CPU build of vLLM that was started by somebody else."""
        if self.server is not None:
            return ()  # has steps that are long enough
        try:
            metrics = (await self.http.exchange("GET", "/metrics")).decode("utf-8", "replace")
        except BadRequestError:
            return ()  # behind a router
        if CPU_CACHE.search(metrics) is None:
            return ()
        return [
            Finding(
                "warning",
                "seeds",
                f"the cache's blocks have {CPU_BLOCK} tokens, as on the processor: there a seeded "
                "request whose prompt takes several steps ends the engine (CPU Generator does not "
                "use offset)",
                "start it with --max-num-batched-tokens of --max-num-seqs x --max-model-len, or "
                "more; servers of a run and of `atts serve-models` have it",
            )
        ]

    async def _takes(self, request: GenerateRequest) -> bool:
        self._priorities = True
        try:
            await self.generate(request)
        except BadRequestError:
            return False
        return True

    async def _can_score_tail(self, request: ScoreRequest, reference: ScoreReply) -> bool:
        """Whether the route is there and says what the other route says."""
        try:
            completion = await self._tail(request, read_cache=False)
            score = wire.read_tail(completion, request)
        except BackendError:
            return False  # not this release, not this runner, or not what it should be
        return score is not None and _agree(score, reference)

    async def _plugin_scores(self, request: ScoreRequest, reference: ScoreReply) -> int | None:
        """Tokens that a score by the engine plugin takes from the cache; None: do not use it.

        Asked twice: the second time the segment itself is in the cache too.
        """
        cached = None
        for _ in range(2):
            try:
                reply = await self._prompt_logprobs(request, tail=True)
                if wire.whole(reply, request):
                    return None  # a server without it computes and returns everything
                score = wire.read_score(reply, request)
            except BackendError as error:
                logger.warning(NOT_TRUSTED, self.http.name, error)
                return None
            if not _agree(score, reference):
                logger.warning(NOT_TRUSTED, self.http.name, "it differs from an uncached score")
                return None
            cached = score.usage.cached_tokens or 0
        return cached


def _agree(one: ScoreReply, other: ScoreReply) -> bool:
    """Whether two scores of a segment are the same, as far as formats and kernels allow."""
    apart = [abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True)]
    return max(apart) < AGREEMENT and sum(apart) / len(apart) < MEAN_AGREEMENT


async def answers(http: EngineHttp, spec: BackendSpec[VLLMOptions]) -> object:
    """A one-token request; id 0 is in every vocabulary."""
    options = spec.options
    body = {
        "model": options.served_model_name or spec.model,
        "prompt": [0],
        "max_tokens": 1,
        "temperature": 0.0,
    }
    return await http.post("/v1/completions", body, wire.COMPLETION)


async def recognise(url: str, headers_env: str | None = None) -> bool:
    """Whether vLLM answers there: it says who owns its models.

    Raises:
        BackendError: nothing answers, or it asks for a key.
    """
    try:
        headers = request_headers(VLLMOptions(url=url, headers_env=headers_env))
        async with contextlib.aclosing(EngineHttp(url, headers=headers)) as http:
            listed = await http.get("/v1/models", VllmModels)
        return any(model.owned_by == "vllm" for model in listed.data)
    except (BadRequestError, MalformedReplyError) as error:
        if wants_key(error):
            raise
        return False


async def connect(
    spec: BackendSpec[VLLMOptions], http: EngineHttp, server: Server | None
) -> VLLMBackend:
    """A backend on a running server, after every check that can be made before a real request.

    Raises:
        SettingError: unreachable, another model, another tokenizer, too small a window.
    """
    ask = functools.partial(_ask, spec, http, managed=server is not None)
    try:
        served = await ask()
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    VERSIONS.check(served.version, f"{spec.role}_url")
    if served.window is None:
        raise SettingError(
            f"{spec.role}_url: {http.url} does not say its context window, so it is not a vLLM "
            "server; try backend=openai"
        )
    tokenizer = await asyncio.to_thread(open_tokenizer, spec, served.model)
    max_length = check_window(spec, served.window)
    backend = VLLMBackend(http, tokenizer, max_length, served, ask, server)
    try:
        check_tokenizer(spec, tokenizer, await _tokenize(http, served.name))
        await backend.find_out()
    except BackendError as error:
        raise unreachable(spec, http, error, server) from error
    backend.wrong_draws = wrong_draws(spec) if server is not None and served.speculative else ""
    return backend


async def _ask(spec: BackendSpec[VLLMOptions], http: EngineHttp, *, managed: bool) -> Served:
    """What the server says of itself; of a server of ours also what it was started with.

    Raises:
        BackendError: it cannot be reached.
        SettingError: it serves another model.
    """
    try:
        version: str | None = (await http.get("/version", Version)).version
    except BadRequestError:
        version = None  # a router does not pass this route on
    model = _pick(spec, http, (await http.get("/v1/models", VllmModels)).data)
    options = spec.options
    flags = flags_by_name(options) if managed else {}
    return Served(
        engine="vllm",
        name=model.id,
        model=model.root or spec.model or model.id,
        window=model.max_model_len,
        version=version,
        revision=options.revision,
        dtype=flags.get("dtype") or options.dtype,
        quantization=flags.get("quantization", "none") if managed else None,
        kv_cache_dtype=flags.get("kv-cache-dtype"),
        adapter=model.id if model.parent else None,
        speculative=speculative(options, speculation_flags(options)) or None,
        started=await process_start(http),
    )


def _pick(spec: BackendSpec[VLLMOptions], http: EngineHttp, models: list[Model]) -> Model:
    """The model that was asked for; adapters only by name."""
    if not models:
        raise SettingError(f"{spec.role}_url: {http.url} serves no model")
    options = spec.options
    name = options.served_model_name or spec.model
    adapters = [model for model in models if model.parent is not None and model.id == name]
    return pick_model(spec, http, adapters or [m for m in models if m.parent is None] or models)


async def _tokenize(http: EngineHttp, model: str) -> list[int]:
    """Ids that the server makes of a text."""
    body: dict[str, Any] = {"model": model, "prompt": SAMPLE_TEXT, "add_special_tokens": False}
    try:
        return (await http.post("/tokenize", body, VllmTokens)).tokens
    except BadRequestError:
        # Behind a router: a completion tells its prompt's ids too.
        body |= {"max_tokens": 1, "temperature": 0.0, "return_token_ids": True}
        completion = await http.post("/v1/completions", body, _PROMPT_IDS)
        return completion.choices[0].prompt_token_ids


class _PromptIds(msgspec.Struct):
    class Choice(msgspec.Struct):
        prompt_token_ids: list[int]

    choices: list[Choice]


_PROMPT_IDS = msgspec.json.Decoder(_PromptIds)
