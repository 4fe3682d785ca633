"""Backends that are wrong in one way each, and the cases that they must fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.errors import BackendUnavailableError, BadRequestError, SettingError


class Wrong:
    """Passes everything on; a fault overrides one thing."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def tokenizer(self) -> Any:
        return self.inner.tokenizer

    @property
    def max_length(self) -> int:
        return int(self.inner.max_length)

    @property
    def capabilities(self) -> Capabilities:
        found: Capabilities = self.inner.capabilities
        return found

    @property
    def running(self) -> int:
        return int(self.inner.running)

    @property
    def identity(self) -> Any:
        return self.inner.identity

    async def identify(self) -> Any:
        return await self.inner.identify()

    async def ping(self) -> None:
        await self.inner.ping()

    async def metrics(self) -> Mapping[str, float]:
        found: Mapping[str, float] = await self.inner.metrics()
        return found

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        reply: GenerateReply = await self.inner.generate(request)
        return reply

    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply: ScoreReply = await self.inner.score(request)
        return reply

    async def aclose(self) -> None:
        await self.inner.aclose()


def changed(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


class RestartsTurn(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        header = self.tokenizer.named["<|assistant|>"]
        start = request.ids.index(header) + 1 if header in request.ids else len(request.ids)
        return await super().generate(changed(request, ids=request.ids[:start]))


class RepeatsHeader(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        header = self.tokenizer.named["<|assistant|>"]
        return await super().generate(changed(request, ids=(*request.ids, header)))


class StripsSpace(Wrong):
    """What a chat endpoint does to the trailing blank line of a message."""

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        ids = request.ids
        while len(ids) > 1 and not self.tokenizer.decode(ids[-1:]).strip():
            ids = ids[:-1]
        return await super().generate(changed(request, ids=ids))


class AddsSeparator(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        blank = self.tokenizer.encode("\n\n")
        ids = request.ids[: request.start] + blank + request.ids[request.start :]
        return await super().score(changed(request, ids=ids, start=request.start + len(blank)))


class SeparatesTurns(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        ids = request.ids + self.tokenizer.encode("\n\n")
        return await super().generate(changed(request, ids=ids))


class DropsFirstToken(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, logprobs=reply.logprobs[1:])


class FirstTokenIsZero(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, logprobs=(0.0, *reply.logprobs[1:]))


class ShiftsByOne(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        if request.start < 2:
            return await super().score(request)
        reply = await super().score(changed(request, start=request.start - 1))
        return changed(reply, logprobs=reply.logprobs[:-1])


class ReEncodesText(Wrong):
    """Scores the text instead of the ids: named tokens become plain text."""

    async def score(self, request: ScoreRequest) -> ScoreReply:
        named = set(self.tokenizer.named.values())
        tail = request.ids[request.start :]
        if not named & set(tail):
            return await super().score(request)
        again = self.tokenizer.encode(self.tokenizer.decode(tail))
        return await super().score(changed(request, ids=request.ids[: request.start] + again))


class TempersScores(Wrong):
    """Scores of what a hot request wrote come back at its temperature."""

    heat = 1.0

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        self.heat = request.sampling.temperature
        return await super().generate(request)

    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, logprobs=tuple(value / max(self.heat, 1) for value in reply.logprobs))


class MixesUpReplies(Wrong):
    """Answers of scores that run together come back in another order."""

    busy = 0

    async def score(self, request: ScoreRequest) -> ScoreReply:
        self.busy += 1
        await asyncio.sleep(0)
        crowded = self.busy > 1
        try:
            reply = await super().score(request)
        finally:
            self.busy -= 1
        return changed(reply, logprobs=reply.logprobs[::-1]) if crowded else reply


class NotANumber(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, logprobs=(*reply.logprobs[:-1], float("nan")))


class NeverReadsCache(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, usage=changed(reply.usage, cached_tokens=0))


class BoastsOfCache(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, usage=changed(reply.usage, cached_tokens=len(request.ids)))


class Miscounts(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        reply = await super().score(request)
        return changed(reply, usage=changed(reply.usage, scored_tokens=len(request.ids)))


class TempersGenerated(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        reply = await super().generate(request)
        return changed(reply, logprobs=tuple(value * 0.9 for value in reply.logprobs or ()))


class FewAlternatives(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        return await super().generate(changed(request, top_logprobs=min(1, request.top_logprobs)))


class IgnoresSampling(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        sampling = changed(request.sampling, top_k=0, top_p=1.0, min_p=0.0)
        return await super().generate(changed(request, sampling=sampling))


class IgnoresSeed(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        return await super().generate(changed(request, seed=None))


class SameSeed(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        return await super().generate(changed(request, seed=0))


class GreedyBesideScores(Wrong):
    """Old SGLang: a score in the batch turns the whole batch greedy."""

    scoring = 0

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        await asyncio.sleep(0)
        if self.scoring:
            request = changed(request, sampling=changed(request.sampling, temperature=0.0))
        return await super().generate(request)

    async def score(self, request: ScoreRequest) -> ScoreReply:
        self.scoring += 1
        try:
            return await super().score(request)
        finally:
            self.scoring -= 1


class OneTokenMore(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        return await super().generate(changed(request, max_tokens=request.max_tokens + 1))


class TrimsStop(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        reply = await super().generate(request)
        return changed(reply, ids=reply.ids[:-1]) if reply.ending == "stop" else reply


class StopsAtTokenEnds(Wrong):
    """Looks for a stop at the end of the text only."""

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        reply = await super().generate(request)
        if reply.ending == "stop" and not self.tokenizer.decode(reply.ids).endswith(reply.stop):
            return await super().generate(changed(request, stop=()))
        return reply


class StopsWithinTokens(Wrong):
    """Compares the stop with single tokens."""

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        reply = await super().generate(request)
        if reply.ending == "stop" and reply.stop not in self.tokenizer.decode(reply.ids[-1:]):
            return await super().generate(changed(request, stop=()))
        return reply


class CutsContext(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        ids = request.ids[-(self.max_length - request.max_tokens) :]
        return await super().generate(changed(request, ids=ids))


class TryAgain(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        try:
            return await super().generate(request)
        except SettingError as error:
            raise BackendUnavailableError(str(error)) from error


class ClampsIds(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        top = self.tokenizer.vocab_size - 1
        ids = tuple(min(max(id_, 0), top) for id_ in request.ids) or (0,)
        return await super().generate(changed(request, ids=ids))


class RaisesAnything(Wrong):
    async def generate(self, request: GenerateRequest) -> GenerateReply:
        try:
            return await super().generate(request)
        except BadRequestError as error:
            raise ValueError(str(error)) from error


class RunsOn(Wrong):
    """Cancelling the caller leaves the engine running."""

    left: set[asyncio.Task[GenerateReply]]

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        self.left = getattr(self, "left", set())
        task = asyncio.ensure_future(super().generate(request))
        # Nobody asks for its error any more. Python would write that to the log when the task is
        # collected, with ast.parse, which must not happen while a test is parsing (3.11).
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.left.add(task)
        return await asyncio.shield(task)


class LooksForCallers(Wrong):
    """An engine that sees only by looking for it, a while later, that nobody waits any more."""

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        task = asyncio.ensure_future(super().generate(request))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(0.5, task.cancel)
            raise


class CancelsNeighbours(Wrong):
    """Cancelling one request ends the others."""

    tasks: set[asyncio.Task[GenerateReply]]

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        self.tasks = getattr(self, "tasks", set())
        task = asyncio.ensure_future(super().generate(request))
        self.tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            for other in self.tasks:
                other.cancel()
            raise


class RaisesManyLines(Wrong):
    async def score(self, request: ScoreRequest) -> ScoreReply:
        try:
            return await super().score(request)
        except BadRequestError as error:
            raise BadRequestError(f"Traceback:\n{error}") from error


# Each fault and the cases it must fail; whatever else it fails is its own business.
FAULTS: list[tuple[type[Wrong], tuple[str, ...]]] = [
    (RestartsTurn, ("continuation", "continuation_in_pieces")),
    (RepeatsHeader, ("greedy_equals_reference", "continuation", "continuation_in_pieces")),
    (StripsSpace, ("continuation",)),
    (SeparatesTurns, ("greedy_equals_reference", "continuation", "continuation_in_pieces")),
    (AddsSeparator, ("score_equals_reference", "score_inserts_nothing", "score_one_token")),
    (DropsFirstToken, ("score_equals_reference", "score_first_token", "score_one_token")),
    (FirstTokenIsZero, ("score_equals_reference", "score_first_token", "score_inserts_nothing")),
    (ShiftsByOne, ("score_equals_reference", "score_first_token", "score_one_token")),
    (ReEncodesText, ("score_named_tokens",)),
    (TempersScores, ("score_untempered",)),
    (MixesUpReplies, ("score_many_at_once",)),
    (NotANumber, ("score_equals_reference",)),
    (NeverReadsCache, ("score_reads_cache",)),
    (BoastsOfCache, ("score_reads_cache",)),
    (Miscounts, ("score_usage",)),
    (TempersGenerated, ("generated_logprobs",)),
    (FewAlternatives, ("top_logprobs",)),
    (IgnoresSampling, ("narrow_sampling_is_greedy", "filters_hold")),
    (IgnoresSeed, ("seeds",)),
    (SameSeed, ("seeds", "samples_stay_distinct")),
    (GreedyBesideScores, ("samples_stay_distinct",)),
    (OneTokenMore, ("length_holds",)),
    (TrimsStop, ("stop_inside_token", "stop_across_tokens")),
    (StopsAtTokenEnds, ("stop_inside_token",)),
    (StopsWithinTokens, ("stop_across_tokens",)),
    (CutsContext, ("too_long",)),
    (TryAgain, ("too_long",)),
    (ClampsIds, ("bad_ids",)),
    (RaisesAnything, ("bad_ids",)),
    (CancelsNeighbours, ("cancellation",)),
    (RunsOn, ("cancellation_frees",)),
    (RaisesManyLines, ("refusals_are_typed",)),
]
