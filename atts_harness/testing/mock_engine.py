"""A mock engine: slots, latencies, a prefix cache and faults, but no model.

What it replies is drawn from the request's ids and seed, so the same request gets the same reply,
in this process (`MockBackend`) and over HTTP (`atts_harness.testing.mock_server`).

    engine = MockEngine(slots=16, latency=per_token(0.02, 1e-5, 0.01))
    backend = MockBackend(engine)
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    ScoreRequest,
    Usage,
)
from atts_harness.errors import BackendUnavailableError, MalformedReplyError
from atts_harness.identity import ModelIdentity
from atts_harness.journal.hashing import request_hash
from atts_harness.testing.mock_faults import Fault, FaultPlan, ServedTry, request_key
from atts_harness.testing.mock_latency import Law, RequestWork, fixed
from atts_harness.testing.scripted import ByteTokenizer
from atts_harness.tokenizer import Ids, Tokenizer
from atts_harness.transcript import Ending

BLOCK = 64
FOREVER = 1e6
LETTERS = tuple(b"abcdefghijklmnopqrstuvwxyz     \n")

Writer = Callable[[GenerateRequest, random.Random], tuple[Ids, Ending]]
"""Draws what is generated, at most `max_tokens` ids, and why it ends; stop strings come after."""
Scorer = Callable[[ScoreRequest, random.Random], tuple[float, ...]]
"""Draws the log-probabilities of a score, one for each id from `start` on."""


def random_text(
    alphabet: Sequence[int] = LETTERS,
    eos: int = 259,
    lengths: tuple[int, int] = (8, 64),
    closing: float = 0.2,
) -> Writer:
    """A writer of random ids.

    Args:
        alphabet: ids to draw from.
        eos: the id that closes a turn.
        lengths: least and most tokens before it stops by itself.
        closing: probability that it then closes the turn; else it is cut off there (`length`).
    """

    def write(request: GenerateRequest, rng: random.Random) -> tuple[Ids, Ending]:
        length = rng.randint(*lengths)
        ids = tuple(rng.choices(alphabet, k=min(length, request.max_tokens)))
        if length < request.max_tokens and rng.random() < closing:
            return (*ids, eos), "eos"
        return ids, "length"

    return write


def full_length(alphabet: Sequence[int] = LETTERS) -> Writer:
    """A writer that always uses up `max_tokens`."""
    return lambda request, rng: (tuple(rng.choices(alphabet, k=request.max_tokens)), "length")


def random_scores(request: ScoreRequest, rng: random.Random) -> tuple[float, ...]:
    """Log-probabilities around a level drawn for the context, the same for any start."""
    level = rng.expovariate(2.0)
    ids = request.ids
    spread = [
        (ids[at] * 2654435761 + at * 40503 & 0xFFFF) / 0xFFFF
        for at in range(request.start, len(ids))
    ]
    return tuple([-0.01 - level * part for part in spread])


class EngineFaultError(Exception):
    """A fault that was drawn; how it looks to a client depends on the dialect."""

    def __init__(self, fault: Fault, reply: GenerateReply | ScoreReply | None = None) -> None:
        super().__init__(fault)
        self.fault = fault
        self.reply = reply


@dataclass
class MockEngine:
    """One engine.

    Attributes:
        slots: requests that run at a time; others queue, first come, first served.
        latency: seconds once a request has a slot.
        writer: draws generations.
        scorer: draws scores.
        faults: made on purpose.
        tokenizer: for stop strings, which are looked for in the text.
        seed: of all draws; two engines with different seeds are different models.
        max_length: context window in tokens.
        kv_tokens: capacity of the KV cache in tokens, for its reported use.
        cache: whether there is a prefix cache, in blocks of 64 tokens.
        proposes: tokens that its own speculative decoding proposes for each that it writes; every
            second one is accepted. 0: it has none.
        keep_log: whether `log` is kept.
        log: every try, in order of arrival.
        gone: True: nothing can reach it.
        stalled: True: it takes requests, says that it is healthy, and answers none of them.
    """

    slots: int = 16
    latency: Law = field(default_factory=lambda: fixed(0.0))
    writer: Writer = field(default_factory=lambda: random_text())
    scorer: Scorer = random_scores
    faults: FaultPlan = field(default_factory=FaultPlan)
    tokenizer: Tokenizer = field(default_factory=ByteTokenizer)
    seed: int = 0
    max_length: int = 1 << 17
    kv_tokens: int = 1 << 20
    cache: bool = True
    proposes: int = 0
    keep_log: bool = True
    log: list[ServedTry] = field(default_factory=list)
    gone: bool = False
    stalled: bool = False
    running: int = 0
    waiting: int = 0
    busy_seconds: float = 0.0
    tokens: Counter[str] = field(default_factory=Counter)
    _kv: int = 0
    _tries: Counter[str] = field(default_factory=Counter)
    _blocks: set[int] = field(default_factory=set)
    _free: asyncio.Semaphore | None = None

    async def serve(self, request: GenerateRequest | ScoreRequest) -> GenerateReply | ScoreReply:
        """Serve a request as a real engine would.

        Raises:
            EngineFaultError: a fault was drawn; for faults of content it holds the good reply.
        """
        key = request_key(request_hash(request))
        fault = self.faults.draw(key, self._tries[key])
        if self.faults.rates:
            self._tries[key] += 1
        loop = asyncio.get_running_loop()
        if self.keep_log:
            self.log.append(ServedTry(key, fault, loop.time(), len(request.ids)))
        if self.stalled or fault == "timeout":
            await asyncio.sleep(FOREVER)
        if fault in ("500", "429", "reset"):
            raise EngineFaultError(fault)
        rng = random.Random(f"{self.seed}/{key}")
        reply = self._draw(request, rng)
        await self._work(request, reply, rng)
        if fault is not None:
            raise EngineFaultError(fault, reply)
        return reply

    def figures(self) -> dict[str, float]:
        """The figures of `/metrics`."""
        return {
            "running": self.running,
            "waiting": self.waiting,
            "kv_usage": self._kv / self.kv_tokens,
            "prompt_tokens": self.tokens["prompt"],
            "cached_tokens": self.tokens["cached"],
            "generation_tokens": self.tokens["generation"],
            "proposed_tokens": self.tokens["proposed"],
            "accepted_tokens": self.tokens["accepted"],
        }

    def _draw(
        self, request: GenerateRequest | ScoreRequest, rng: random.Random
    ) -> GenerateReply | ScoreReply:
        cached = self._cached(request)
        if isinstance(request, ScoreRequest):
            logprobs = self.scorer(request, rng)
            usage = Usage(
                prompt_tokens=len(request.ids), cached_tokens=cached, scored_tokens=len(logprobs)
            )
            return ScoreReply(logprobs=logprobs, usage=usage)
        ids, ending = self.writer(request, rng)
        stop = None
        if request.stop:
            ids, ending, stop = self._stopped(ids, ending, request.stop)
        self._remember((*request.ids, *ids))
        tops = None
        if request.top_logprobs:
            others = range(1, request.top_logprobs)
            tops = tuple({id_: -0.1, **{(id_ + n) % 256: -2.0 - n for n in others}} for id_ in ids)
        proposed = self.proposes * len(ids)
        self.tokens["proposed"] += proposed
        self.tokens["accepted"] += proposed // 2
        usage = Usage(
            prompt_tokens=len(request.ids),
            cached_tokens=cached,
            completion_tokens=len(ids),
            proposed_tokens=proposed or None,
            accepted_tokens=proposed // 2 if proposed else None,
        )
        return GenerateReply(
            ids=ids,
            ending=ending,
            stop=stop,
            usage=usage,
            logprobs=None if tops is None else (-0.1,) * len(ids),
            top_logprobs=tops,
        )

    async def _work(
        self,
        request: GenerateRequest | ScoreRequest,
        reply: GenerateReply | ScoreReply,
        rng: random.Random,
    ) -> None:
        """Wait for a slot, and for as long as the work takes."""
        if self._free is None:
            self._free = asyncio.Semaphore(self.slots)
        usage = reply.usage
        size = usage.prompt_tokens + usage.completion_tokens
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        self._kv += size
        began = asyncio.get_running_loop().time()
        try:
            work = RequestWork(
                sort="score" if isinstance(request, ScoreRequest) else "generate",
                prompt=usage.prompt_tokens,
                cached=usage.cached_tokens or 0,
                written=usage.completion_tokens,
                batch=self.running,
            )
            seconds = self.latency(work, rng)
            if seconds > 0:
                await asyncio.sleep(seconds)
            self.tokens["prompt"] += usage.prompt_tokens
            self.tokens["cached"] += usage.cached_tokens or 0
            self.tokens["generation"] += usage.completion_tokens
            self.tokens["served"] += 1
        finally:
            self.busy_seconds += asyncio.get_running_loop().time() - began
            self.running -= 1
            self._kv -= size
            self._free.release()

    def _cached(self, request: GenerateRequest | ScoreRequest) -> int | None:
        """Tokens of the longest known prefix, in whole blocks, as paged caches have it."""
        if not self.cache:
            return None
        # The log-probability of the first scored token needs the position before it.
        end = request.start - 1 if isinstance(request, ScoreRequest) else len(request.ids) - 1
        cached = 0
        for digest in _digests(request.ids):
            if digest not in self._blocks:
                break
            cached += BLOCK
        self._remember(request.ids)
        return max(0, min(cached, end))

    def _remember(self, ids: Ids) -> None:
        if self.cache:
            self._blocks.update(_digests(ids))
            if len(self._blocks) * BLOCK > 4 * self.kv_tokens:
                self._blocks.clear()  # cruder than an engine's eviction, but as valid

    def _stopped(
        self, ids: Ids, ending: Ending, stops: Sequence[str]
    ) -> tuple[Ids, Ending, str | None]:
        """Ids up to the one that completes the first stop string."""
        text = self.tokenizer.decode(ids)
        hits = {stop: at + len(stop) for stop in stops if (at := text.find(stop)) >= 0}
        if not hits:
            return ids, ending, None
        first = min(hits, key=lambda stop: hits[stop])
        length = next(n for n in range(1, len(ids) + 1) if first in self.tokenizer.decode(ids[:n]))
        return ids[:length], "stop", first


def _digests(ids: Ids) -> list[int]:
    digests, digest = [], 0
    for at in range(0, len(ids) - BLOCK + 1, BLOCK):
        digest = hash((digest, ids[at : at + BLOCK]))
        digests.append(digest)
    return digests


class MockBackend:
    """A backend on a mock engine in this process; roles may share an engine."""

    def __init__(self, engine: MockEngine, name: str = "mock") -> None:
        self.engine = engine
        self.name = name
        self.tokenizer = engine.tokenizer
        self.max_length = engine.max_length
        self.capabilities = Capabilities()
        self.closed = False
        self.identity = self._identity()

    async def identify(self) -> ModelIdentity:
        """The model that answers now: an engine with another seed is another model."""
        await self.ping()
        return self._identity()

    def _identity(self) -> ModelIdentity:
        return ModelIdentity(
            engine="mock",
            model=f"{self.name}-{self.engine.seed}",
            tokenizer=self.tokenizer.fingerprint,
        )

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`."""
        reply = await self._ask(request)
        assert isinstance(reply, GenerateReply)
        return reply

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on."""
        reply = await self._ask(request)
        assert isinstance(reply, ScoreReply)
        return reply

    async def ping(self) -> None:
        """Whether it can be reached, as `/health` would say: a stalled engine says yes."""
        if self.engine.gone:
            raise BackendUnavailableError("mock: connection refused")

    async def metrics(self) -> Mapping[str, float]:
        """The engine's own figures."""
        await self.ping()
        return self.engine.figures()

    async def aclose(self) -> None:
        """Mark it closed."""
        self.closed = True

    async def _ask(self, request: GenerateRequest | ScoreRequest) -> GenerateReply | ScoreReply:
        await self.ping()
        try:
            return await self.engine.serve(request)
        except EngineFaultError as error:
            return _as_a_client_sees_it(error, self.engine.faults.retry_after)


def _as_a_client_sees_it(error: EngineFaultError, retry_after: float) -> GenerateReply | ScoreReply:
    """A bad reply if the caller must notice the fault, else the typed error."""
    reply = error.reply
    match error.fault:
        case "429":
            raise BackendUnavailableError("mock: 429 too many requests", retry_after) from error
        case "500" | "reset":
            raise BackendUnavailableError(f"mock: {error.fault}") from error
        case "nan" if isinstance(reply, ScoreReply):
            return ScoreReply(logprobs=(*reply.logprobs[:-1], float("nan")), usage=reply.usage)
        case "length" if isinstance(reply, ScoreReply):
            return ScoreReply(logprobs=reply.logprobs[:-1], usage=reply.usage)
    raise MalformedReplyError(f"mock: {error.fault} reply") from error
