"""What all backends over HTTP do: open, check which server answers, send, close."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

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
from atts_harness.engines.address import base_address
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.metrics import names_of_engines, parse_figures
from atts_harness.engines.options import EngineOptions, request_headers
from atts_harness.engines.served import SAMPLE_TEXT, Served, identity_of, output_ids
from atts_harness.engines.servers import Launch, Server, start
from atts_harness.engines.versions import Versions
from atts_harness.errors import (
    AttsError,
    BackendError,
    BackendUnavailableError,
    BadRequestError,
    SettingError,
)
from atts_harness.guards import check_generate, check_score
from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import Tokenizer
from atts_harness.weights import full_weights_digest

if TYPE_CHECKING:
    from atts_harness.engines.doctor.finding import Finding

T = TypeVar("T")
Options = TypeVar("Options", bound=EngineOptions)
B = TypeVar("B", bound="EngineBackend")
GREEDY_PROMPTS = (
    "Once upon a time, in a village by the sea, there lived",
    "The main reason why people learn a second language is",
    "def longest_common_prefix(words):\n",
    "Dear Ms Okafor,\n\nThank you for your letter about",
)
"""Prompts that a model which cannot score continues greedily: its texts identify it."""
GREEDY_TOKENS = 16
LEAST_PROBED = -30.0  # a probability of zero would be minus infinity, which has no mean


class EngineBackend:
    """Base class of the HTTP backends: everything that does not depend on the engine.

    Args:
        http: connections to the server.
        tokenizer: the served model's.
        max_length: context window in tokens.
        served: what the server reports about itself.
        ask: asks the server for that again.
        server: the server's process, if this run started it.

    Attributes:
        identity: the model that answered when the backend was opened.
        served: what the server said of itself then.
        versions: tested versions of the engine; None: it may be any engine.
    """

    versions: Versions | None = None

    def __init__(
        self,
        http: EngineHttp,
        tokenizer: Tokenizer,
        max_length: int,
        served: Served,
        ask: Callable[[], Awaitable[Served]],
        server: Server | None = None,
    ) -> None:
        self.http = http
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.served_model = served.name
        self.capabilities = Capabilities(output_ids=output_ids(tokenizer))
        self.server = server
        managed = server is not None
        self.identity = identity_of(served, tokenizer, max_length, managed=managed)
        self._ask, self.served = ask, served
        self._chores: set[asyncio.Task[None]] = set()

    def guard(self, request: GenerateRequest | ScoreRequest, reserve: int = 0) -> None:
        """Check a request before it is sent; see `guards`.

        Args:
            request: the request to check.
            reserve: tokens the engine must be able to generate behind a scored context.
        """
        vocab_size = max(self.tokenizer.vocab_size, self.capabilities.output_ids)
        if isinstance(request, ScoreRequest):
            check_score(request, vocab_size=vocab_size, max_length=self.max_length, reserve=reserve)
        else:
            check_generate(
                request,
                vocab_size=vocab_size,
                max_length=self.max_length,
                top_logprobs=self.capabilities.top_logprobs,
            )

    async def send(self, path: str, payload: Any, kind: msgspec.json.Decoder[T]) -> T:
        """POST a request; if our own server is dead, the error says so and is not retried."""
        try:
            return await self.http.post(path, payload, kind)
        except BackendUnavailableError as error:
            if self.server is None:
                raise
            raise self.server.check(error) from error

    def later(self, chore: Callable[[], Awaitable[object]]) -> None:
        """Run a chore in the background, for a caller that was cancelled; it may fail."""

        async def attempt() -> None:
            try:
                await chore()
            except AttsError:
                return  # an abort that does not arrive: the dropped connection ends the request

        task = asyncio.get_running_loop().create_task(attempt())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def ping(self) -> None:
        """Check that the engine answers: it generates one token.

        Raises:
            BackendError: it does not answer, or not now.
            EngineGoneError: it is a server that this run started, and it died.
        """
        # Not id 0: SGLang's completions route refuses it as an empty prompt.
        ids = self.tokenizer.encode(SAMPLE_TEXT)[:1]
        request = GenerateRequest(ids=ids, max_tokens=1, sampling=Sampling(temperature=0.0))
        await guards.generate(self, request)

    async def metrics(self) -> Mapping[str, float]:
        """The engine's own figures by name; see `engines.metrics`. Empty if the server has none.

        Raises:
            BackendError: it cannot be reached, or a figure is not a number.
        """
        try:
            return parse_figures(await self.http.exchange("GET", "/metrics"), names_of_engines())
        except BadRequestError:
            return {}  # served without metrics, or behind a router

    async def remarks(self) -> Sequence[Finding]:
        """Findings of `atts doctor` that only concern this engine; none by default.

        Raises:
            BackendError: it cannot be reached.
        """
        return ()

    async def identify(self) -> ModelIdentity:
        """Ask the server again who it is, and have it score the probe's text again.

        Raises:
            BackendError: it cannot be reached.
            EngineGoneError: it is a server that this run started, and it died.
        """
        try:
            served = await self._ask()
        except BackendUnavailableError as error:
            if self.server is None:
                raise
            raise self.server.check(error) from error
        window = min(self.max_length, served.window or self.max_length)
        identity = identity_of(served, self.tokenizer, window, managed=self.server is not None)
        # Asked every time: a server can exchange its weights and keep its name.
        return msgspec.structs.replace(
            identity,
            weights_full=await self._full_digest(served),
            probe=await self.probe(),
            greedy=None if self.identity.greedy is None else await self.greedy(),
            server=self.identity.server,
        )

    async def settle(self, **server: Any) -> None:
        """Complete the identity of a backend that has just been opened.

        Args:
            server: further facts for the identity's `server`, beside the address.

        Raises:
            BackendError: the engine does not answer the probe.
        """
        server_details = {"url": self.http.url, "managed": self.server is not None, **server}
        greedy = None
        if not self.capabilities.scores and (greedy := await self.greedy()) != await self.greedy():
            greedy = None  # it samples at temperature 0, or requests disturb one another
        self.identity = msgspec.structs.replace(
            self.identity, probe=await self.probe(), greedy=greedy, server=server_details
        )

    async def read_weights(self) -> None:
        """Complete the identity with digests of every byte of large weight files."""
        full = await self._full_digest(self.served)
        self.identity = msgspec.structs.replace(self.identity, weights_full=full)

    async def _full_digest(self, served: Served) -> str | None:
        stop = threading.Event()
        try:
            return await asyncio.to_thread(
                full_weights_digest,
                served.model,
                served.revision,
                hub=self.server is not None,
                stop=stop,
            )
        finally:
            stop.set()

    async def greedy(self) -> tuple[tuple[int, str], ...]:
        """Prompt tokens and greedy text behind each of a few fixed prompts.

        Raises:
            BackendError: it cannot be reached, or does not answer as it should.
        """
        continuations = []
        for prompt in GREEDY_PROMPTS:
            ids = self.tokenizer.encode(prompt)
            if len(ids) + GREEDY_TOKENS > self.max_length:
                continue
            request = GenerateRequest(
                ids=ids,
                max_tokens=GREEDY_TOKENS,
                sampling=Sampling(temperature=0.0),
            )
            reply = await guards.generate(self, request)
            continuations.append((reply.usage.prompt_tokens, self.tokenizer.decode(reply.ids)))
        return tuple(continuations)

    async def probe(self) -> tuple[float, ...] | None:
        """Log-probabilities of a fixed text: another model under the same name gives others.

        None where the server cannot score.

        Raises:
            BackendError: it cannot be reached, or does not answer as it should.
        """
        if not self.capabilities.scores:
            return None
        ids = self.tokenizer.encode(SAMPLE_TEXT)
        reply = await guards.score(self, ScoreRequest(ids=ids, start=1))
        return tuple(round(max(value, LEAST_PROBED), 4) for value in reply.logprobs)

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`."""
        raise NotImplementedError

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close connections and stop the server if it is ours."""
        if self._chores:
            await asyncio.wait(self._chores, timeout=2)
        await self.http.aclose()
        if self.server is not None:
            await self.server.stop()


async def open_engine(
    spec: BackendSpec[Options],
    connect: Callable[[BackendSpec[Options], EngineHttp, Server | None], Awaitable[B]],
    launch: Callable[[BackendSpec[Options]], Launch] | None = None,
    answers: Callable[[EngineHttp, BackendSpec[Options]], Awaitable[object]] | None = None,
) -> B:
    """Open a backend on a running server, or on one that is started for it.

    Args:
        spec: of the backend to open.
        connect: makes the backend from connections; raises `SettingError` if the server does not
            fit the specification.
        launch: describes how to start a server; None if this kind cannot.
        answers: sends a one-token request, to see whether a started server is ready.

    Raises:
        SettingError: unreachable, another model, cannot start, ...
    """
    options = spec.options
    headers = request_headers(options)
    if options.url is not None:
        name = f"{spec.role}_url"
        base = base_address(options.url, name)
        http = EngineHttp(base, name=name, headers=headers, timeout=options.timeout)
        try:
            backend = await _in_time(connect(spec, http, None), spec, http)
            await backend.read_weights()  # a disk's time is not the server's
            return backend
        except BaseException:
            await http.aclose()
            raise
    if launch is None or answers is None:
        raise SettingError(
            f"{spec.role}_url: backend={spec.kind} needs the URL of a running server"
        )
    plan = launch(spec)
    server = await start(plan)
    http = EngineHttp(plan.url, name=spec.role, headers=headers, timeout=options.timeout)
    try:
        await server.wait_ready(lambda: answers(http, spec))
        backend = await _in_time(connect(spec, http, server), spec, http)
        await backend.read_weights()
        return backend
    except BaseException:
        await http.aclose()
        await server.stop()
        raise


async def _in_time(opening: Awaitable[T], spec: BackendSpec[EngineOptions], http: EngineHttp) -> T:
    """Open within a time limit: a server may accept connections and never answer."""
    role_timeout = spec.options.timeout
    seconds = role_timeout or spec.timeout
    try:
        async with asyncio.timeout(seconds):
            return await opening
    except TimeoutError as error:
        name = f"{spec.role}_timeout" if role_timeout else "timeout"
        raise SettingError(
            f"{spec.role}_url: {http.url} accepts connections but did not answer the requests "
            f"that open a backend within {name}={seconds:g} s; see what the server does"
        ) from error


def unreachable(
    spec: BackendSpec[EngineOptions], http: EngineHttp, error: BackendError, server: Server | None
) -> SettingError:
    """The error for a server that does not answer when a backend is opened."""
    if server is not None:
        return SettingError(
            f"{spec.role}: the {spec.kind} server that was started does not answer as it should "
            f"({error}); its log says more: {server.name_log()}"
        )
    return SettingError(
        f"{spec.role}_url: no usable {spec.kind} server at {http.url} ({error}); start one with "
        "`atts serve-models`, or look at it with `atts doctor`"
    )
