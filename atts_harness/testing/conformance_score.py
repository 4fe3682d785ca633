"""Conformance cases about scores."""

from __future__ import annotations

import asyncio

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.testing.conformance_case import Bench, Case, CaseSkippedError, require

SEGMENT = " + 9.\n\nSo the answer is \\boxed{37}, naïve café 東京 🙂."


def _scores(bench: Bench) -> None:
    if not bench.backend.capabilities.scores:
        raise CaseSkippedError("the backend cannot score (a draft only)")


async def score_equals_reference(bench: Bench) -> None:
    """Every token of a segment has the reference's log-probability, multi-byte text included."""
    _scores(bench)
    prefix = bench.partial()
    ids = prefix + bench.backend.tokenizer.encode(SEGMENT)
    reply = await bench.backend.score(ScoreRequest(ids=ids, start=len(prefix)))
    bench.require_close(reply.logprobs, bench.reference.logprobs(ids)[len(prefix) - 1 :], "score")


async def score_first_token(bench: Bench) -> None:
    """The first token of the segment is scored, after any context."""
    _scores(bench)
    prefix = bench.partial()
    for start in (len(prefix), 1, 2):
        ids = prefix[: start + 3] if start < len(prefix) else prefix + prefix[-2:]
        reply = await bench.backend.score(ScoreRequest(ids=ids, start=start))
        expected = bench.reference.logprobs(ids)[start - 1 :]
        bench.require_close(reply.logprobs, expected, f"score from {start}")


async def score_one_token(bench: Bench) -> None:
    """A segment may be a single token."""
    _scores(bench)
    ids = bench.partial()
    reply = await bench.backend.score(ScoreRequest(ids=ids, start=len(ids) - 1))
    bench.require_close(reply.logprobs, bench.reference.logprobs(ids)[-1:], "score of one token")


async def score_inserts_nothing(bench: Bench) -> None:
    """A segment in two halves scores as it does whole: nothing is put between."""
    _scores(bench)
    prefix = bench.partial()
    segment = bench.backend.tokenizer.encode(SEGMENT)
    ids, cut = prefix + segment, len(prefix) + len(segment) // 2
    halves = [
        await bench.backend.score(ScoreRequest(ids=ids[:cut], start=len(prefix))),
        await bench.backend.score(ScoreRequest(ids=ids, start=cut)),
    ]
    joined = [value for half in halves for value in half.logprobs]
    bench.require_close(joined, bench.reference.logprobs(ids)[len(prefix) - 1 :], "two halves")


async def score_named_tokens(bench: Bench) -> None:
    """Named tokens inside a context are scored as the ids they are."""
    _scores(bench)
    named = sorted(bench.backend.tokenizer.named.values())[:4]
    if not named:
        raise CaseSkippedError("the tokenizer has no named tokens")
    prefix = bench.partial()
    ids = prefix + tuple(named) + bench.backend.tokenizer.encode(" 22")
    reply = await bench.backend.score(ScoreRequest(ids=ids, start=len(prefix)))
    expected = bench.reference.logprobs(ids)[len(prefix) - 1 :]
    bench.require_close(reply.logprobs, expected, "score over named tokens")


async def score_untempered(bench: Bench) -> None:
    """Scores are at temperature 1, also right after a hot generation."""
    _scores(bench)
    context = bench.partial()
    hot = Sampling(temperature=1.7, top_k=5)
    reply = await bench.backend.generate(
        GenerateRequest(ids=context, max_tokens=12, sampling=hot, seed=3)
    )
    ids = context + reply.ids
    score = await bench.backend.score(ScoreRequest(ids=ids, start=len(context)))
    expected = bench.reference.logprobs(ids)[len(context) - 1 :]
    bench.require_close(score.logprobs, expected, "score of a hot generation")


async def score_many_at_once(bench: Bench) -> None:
    """Sixteen scores of different lengths beside running generations do not disturb each other."""
    _scores(bench)
    context = bench.partial() + bench.backend.tokenizer.encode(SEGMENT)
    spans = [(2 + n % 5, len(context) - n) for n in range(16)]
    generations = [
        asyncio.create_task(
            bench.backend.generate(GenerateRequest(ids=bench.context(), max_tokens=24, seed=n))
        )
        for n in range(4)
    ]
    replies = await asyncio.gather(
        *(bench.backend.score(ScoreRequest(ids=context[:end], start=start)) for start, end in spans)
    )
    await asyncio.gather(*generations)
    for reply, (start, end) in zip(replies, spans, strict=True):
        expected = bench.reference.logprobs(context[:end])[start - 1 :]
        bench.require_close(reply.logprobs, expected, f"score of [{start}, {end})")


async def score_reads_cache(bench: Bench) -> None:
    """A score after a generation computes little more than its segment."""
    _scores(bench)
    capabilities = bench.backend.capabilities
    if not capabilities.scores_read_cache:
        raise CaseSkippedError("scores of this engine compute their whole context")
    context = bench.long_context()
    generated = await bench.backend.generate(
        GenerateRequest(ids=context, max_tokens=16, sampling=Sampling(temperature=0))
    )
    ids = context + generated.ids
    first = await bench.backend.score(ScoreRequest(ids=ids, start=len(context)))
    again = await bench.backend.score(ScoreRequest(ids=ids, start=len(context)))
    for reply, when in ((first, "after a generation"), (again, "the second time")):
        cached = reply.usage.cached_tokens
        require(cached is not None, f"score {when}: `cached_tokens` is not reported")
        require(
            (cached or 0) >= len(context) // 2,
            f"score {when}: {cached} tokens cached of a context of {len(context)}; a backend that "
            "computes the whole context says so by Capabilities(scores_read_cache=False)",
        )
        require(
            (cached or 0) < len(context),
            f"score {when}: {cached} tokens cached, but the scored ones begin at {len(context)}",
        )
        expected = bench.reference.logprobs(ids)[len(context) - 1 :]
        bench.require_close(reply.logprobs, expected, f"score {when}")


async def score_usage(bench: Bench) -> None:
    """A score counts its context and its scored tokens."""
    _scores(bench)
    ids = bench.partial()
    usage = (await bench.backend.score(ScoreRequest(ids=ids, start=3))).usage
    require(usage.prompt_tokens == len(ids), f"prompt_tokens {usage.prompt_tokens}, not {len(ids)}")
    expected = len(ids) - 3
    require(usage.scored_tokens == expected, f"scored_tokens {usage.scored_tokens}, not {expected}")


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        score_equals_reference,
        score_first_token,
        score_one_token,
        score_inserts_nothing,
        score_named_tokens,
        score_untempered,
        score_many_at_once,
        score_reads_cache,
        score_usage,
    )
}
