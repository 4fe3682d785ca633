"""What backends behind HTTP do alike: opening, checking what answers, sending, closing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from atts_harness.backend import (
    BackendSpec,
    Capabilities,
    GenerateReply,
    GenerateRequest,
    Sampling,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.engines.guards import check_generate, check_score
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.metrics import parse_figures
from atts_harness.engines.options import EngineOptions, request_headers
from atts_harness.engines.servers import Launch, Server, start
from atts_harness.errors import (
    AttsError,
    BackendError,
    BackendUnavailableError,
    BadRequestError,
    SettingError,
)
from atts_harness.tokenizer import Tokenizer

T = TypeVar("T")
# Plain text only: names of special tokens mean different things to `encode` and to a server.
SAMPLE_TEXT = "Solve 12 + 3 = 15.\n\nSo the answer is \\boxed{15}. Über naïve façades, 東京, Ω ≠ ∞."


class EngineBackend:
    """Base of the HTTP backends: state and what needs no knowledge of an engine.

    Args:
        http: connections to the server.
        tokenizer: the served model's.
        max_length: context window in tokens.
        model: name under which the server knows it.
        server: the process, if it is ours.
    """

    def __init__(
        self,
        http: EngineHttp,
        tokenizer: Tokenizer,
        max_length: int,
        model: str,
        server: Server | None = None,
    ) -> None:
        self.http = http
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.served_model = model
        self.capabilities = Capabilities()
        self.server = server
        self._chores: set[asyncio.Task[None]] = set()

    def guard(self, request: GenerateRequest | ScoreRequest, reserve: int = 0) -> None:
        """Check a request before it is sent; see `guards`.

        Args:
            request: what is asked.
            reserve: tokens the engine must be able to generate behind a scored context.
        """
        vocab_size = self.tokenizer.vocab_size
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
        """POST; where our own server is dead, that is said and no retry can help."""
        try:
            return await self.http.post(path, payload, kind)
        except BackendUnavailableError as error:
            if self.server is not None:
                raise self.server.check(error) from error
            raise

    def later(self, chore: Callable[[], Awaitable[object]]) -> None:
        """Do something that a cancelled caller cannot wait for; failures of it are harmless."""

        async def attempt() -> None:
            try:
                await chore()
            except AttsError:
                return  # an abort that does not arrive: the dropped connection ends the request

        task = asyncio.get_running_loop().create_task(attempt())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def ping(self) -> None:
        """See whether the engine is there: it generates one token.

        Raises:
            BackendError: it is not, or not now.
            EngineGoneError: it is a server of ours, and dead.
        """
        request = GenerateRequest(ids=(0,), max_tokens=1, sampling=Sampling(temperature=0.0))
        await self.generate(request)

    async def metrics(self) -> Mapping[str, float]:
        """The engine's own figures; see `figures`. Empty where the server tells none.

        Raises:
            BackendError: it cannot be reached.
        """
        try:
            return parse_figures((await self.http.exchange("GET", "/metrics")).decode())
        except BadRequestError:
            return {}  # served without metrics, or behind a router

    def describe(self) -> Mapping[str, Any]:
        """Identity of what is served."""
        raise NotImplementedError

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
    spec: BackendSpec,
    connect: Callable[[BackendSpec, EngineHttp, Server | None], Awaitable[T]],
    launch: Callable[[BackendSpec], Launch] | None = None,
    answers: Callable[[EngineHttp, BackendSpec], Awaitable[object]] | None = None,
) -> T:
    """Open a backend on a running server, or on one that is started for it.

    Args:
        spec: what to open.
        connect: makes the backend from connections; raises `SettingError` for what does not fit.
        launch: how to start a server; None if this kind cannot.
        answers: sends a one-token request, to see whether a started server is ready.

    Raises:
        SettingError: unreachable, another model, cannot start, ...
    """
    options = spec.options
    assert isinstance(options, EngineOptions)
    headers = request_headers(options)
    if options.url is not None:
        http = EngineHttp(
            options.url, name=f"{spec.role}_url", headers=headers, timeout=options.timeout
        )
        try:
            return await connect(spec, http, None)
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
        return await connect(spec, http, server)
    except BaseException:
        await http.aclose()
        await server.stop()
        raise


def unreachable(spec: BackendSpec, http: EngineHttp, error: BackendError) -> SettingError:
    """The error for a server that does not answer when a backend is opened."""
    return SettingError(
        f"{spec.role}_url: no usable {spec.kind} server at {http.url} ({error}); start one with "
        "`atts serve-models`, or look at it with `atts doctor`"
    )


def check_model(spec: BackendSpec, http: EngineHttp, served: Sequence[str]) -> None:
    """Make sure that the server has the model that was asked for.

    Args:
        spec: names the model, if it does.
        http: where it is served.
        served: every name and path under which the server knows its model.

    Raises:
        SettingError: it serves another one.
    """
    options = spec.options
    assert isinstance(options, EngineOptions)
    wanted = options.served_model_name or spec.model
    if wanted is None or any(_same_model(wanted, name) for name in served):
        return
    raise SettingError(
        f"{spec.role}_url: {http.url} serves {' or '.join(served) or 'nothing'}, not {wanted}; "
        f"correct the URL, or give {spec.role}_served_model_name if it is the same model"
    )


def _same_model(wanted: str, name: str) -> bool:
    if wanted == name or _hub_name(wanted) == _hub_name(name):
        return True
    return Path(wanted).is_dir() and Path(wanted).resolve() == Path(name).resolve()


def _hub_name(name: str) -> str:
    """Last part of a hub id or of a path, which is what a copy of a model keeps."""
    cached = re.search(r"models--[^/]*?--([^/]+)", name)
    return (cached.group(1) if cached else name.rstrip("/").rpartition("/")[2]).lower()


def check_tokenizer(spec: BackendSpec, tokenizer: Tokenizer, theirs: Sequence[int]) -> None:
    """Make sure that the local tokenizer is the server's.

    Args:
        spec: whose.
        tokenizer: the local one.
        theirs: ids that the server makes of `SAMPLE_TEXT`, without special tokens.

    Raises:
        SettingError: they differ.
    """
    ours = tokenizer.encode(SAMPLE_TEXT)
    if tuple(theirs[-len(ours) :]) == ours and len(theirs) - len(ours) in (0, 1):
        return  # one more: some servers put the beginning of the text before it
    at = next(
        (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    raise SettingError(
        f"{spec.role}_tokenizer: the local tokenizer is not the server's (token {at} of a sample "
        f"text differs); give the served model's own with {spec.role}_tokenizer=FOLDER_OR_HUB_ID"
    )


def check_window(spec: BackendSpec, served: int) -> int:
    """The context window to use: the server's, or a smaller one that was asked for.

    Raises:
        SettingError: more was asked for than is served.
    """
    options = spec.options
    assert isinstance(options, EngineOptions)
    if options.max_length is None:
        return served
    if options.max_length > served and options.url is not None:
        raise SettingError(
            f"{spec.role}_max_length: the server's window is {served} tokens, less than the "
            f"{options.max_length} asked for; lower it, or serve a longer context"
        )
    return min(options.max_length, served)
