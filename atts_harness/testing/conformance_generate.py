"""Conformance cases about generation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from atts_harness.backend import GenerateReply, GenerateRequest, Sampling, ScoreRequest
from atts_harness.testing.conformance_case import Bench, Case, CaseSkippedError, require
from atts_harness.tokenizer import REPLACEMENT, Tokenizer

GREEDY = Sampling(temperature=0)
PROBLEMS = ("Compute 17 + 5 - 8 * 2 (left to right).", "Say something.", "3 * 4 - 1?", "Why?")


async def greedy_equals_reference(bench: Bench) -> None:
    """At temperature 0 every token is the reference's most probable one."""
    for problem in PROBLEMS[:2]:
        context = bench.context(problem)
        request = GenerateRequest(ids=context, max_tokens=32, sampling=GREEDY)
        reply = await bench.backend.generate(request)
        bench.require_greedy(context, reply.ids, "greedy")


async def continuation(bench: Bench) -> None:
    """A turn cut inside a word goes on: it is not restarted, and no header comes first."""
    for text in ("17 + 5 = 2", "17 + 5 = 22, s", "The answ", "a naï", "22 - 8 = 14.\n\n"):
        context = bench.partial(text)
        request = GenerateRequest(ids=context, max_tokens=12, sampling=GREEDY)
        reply = await bench.backend.generate(request)
        bench.require_greedy(context, reply.ids, f"after {text!r}")


async def continuation_in_pieces(bench: Bench) -> None:
    """Generating in two requests gives what one gives: nothing is put between."""
    context = bench.context()
    first = await bench.backend.generate(
        GenerateRequest(ids=context, max_tokens=9, sampling=GREEDY)
    )
    if first.ending == "eos":
        raise CaseSkippedError("the model ends its turn within nine tokens")
    second = await bench.backend.generate(
        GenerateRequest(ids=context + first.ids, max_tokens=9, sampling=GREEDY)
    )
    bench.require_greedy(context, first.ids + second.ids, "two pieces")


async def generated_logprobs(bench: Bench) -> None:
    """Generated tokens carry the reference's log-probabilities."""
    context = bench.context()
    request = GenerateRequest(
        ids=context, max_tokens=24, sampling=Sampling(temperature=1.0), seed=5, top_logprobs=1
    )
    reply = await bench.backend.generate(request)
    require(reply.logprobs is not None, "`logprobs` is not reported")
    expected = bench.reference.logprobs(context + reply.ids)[len(context) - 1 :]
    bench.require_close(reply.logprobs or (), expected, "generated")


async def top_logprobs(bench: Bench) -> None:
    """The alternatives of a generated token are the reference's most probable ones."""
    count = min(5, bench.backend.capabilities.top_logprobs)
    if not count:
        raise CaseSkippedError("the backend reports no alternatives")
    context = bench.context()
    request = GenerateRequest(
        ids=context, max_tokens=4, sampling=Sampling(temperature=1.0), seed=1, top_logprobs=count
    )
    reply = await bench.backend.generate(request)
    require(reply.top_logprobs is not None, "`top_logprobs` is not reported")
    entries = reply.top_logprobs or ()
    require(len(entries) == len(reply.ids), f"{len(entries)} entries for {len(reply.ids)} tokens")
    for index, alternatives in enumerate(entries):
        expected = bench.reference.alternatives(context + reply.ids[:index], count)
        # Engines may add the drawn token; ties may change places.
        require(len(alternatives) >= count, f"{len(alternatives)} alternatives, asked for {count}")
        ranked = sorted(alternatives.values(), reverse=True)[:count]
        best = sorted(expected.values(), reverse=True)
        bench.require_close(ranked, best, f"alternatives of token {index}")
        for id_ in set(alternatives) & set(expected):
            bench.require_close([alternatives[id_]], [expected[id_]], f"alternative {id_}")


async def narrow_sampling_is_greedy(bench: Bench) -> None:
    """`top_k` 1, a tiny `top_p` and `min_p` 1 leave only the most probable token."""
    context = bench.context()
    _likelier_tokens(bench, context, 1)
    for sampling in (
        Sampling(temperature=1.0, top_k=1),
        Sampling(temperature=1.0, top_p=1e-4),
        Sampling(temperature=1.0, min_p=1.0),
    ):
        request = GenerateRequest(ids=context, max_tokens=12, sampling=sampling, seed=7)
        reply = await bench.backend.generate(request)
        bench.require_greedy(context, reply.ids, str(sampling))


async def filters_hold(bench: Bench) -> None:
    """With `top_k` 3 at a high temperature, only the three most probable tokens come up."""
    context = bench.context()
    _likelier_tokens(bench, context, 3)
    request = GenerateRequest(
        ids=context, max_tokens=24, sampling=Sampling(temperature=2.0, top_k=3), seed=11
    )
    reply = await bench.backend.generate(request)
    scores = bench.reference.logprobs(context + reply.ids)[len(context) - 1 :]
    for index, score in enumerate(scores):
        third = min(bench.reference.alternatives(context + reply.ids[:index], 3).values())
        require(score >= third - bench.tolerance, f"token {index} is not among the top 3")


def _likelier_tokens(bench: Bench, context: Sequence[int], count: int) -> None:
    """Skip a case that passes whatever is drawn, because further tokens are as likely."""
    ranked = sorted(bench.reference.alternatives(context, count + 1).values(), reverse=True)
    if ranked[count - 1] - ranked[count] <= 2 * bench.tolerance:
        raise CaseSkippedError(
            f"token {count + 1} by likelihood is as likely as token {count}: with this model the "
            "case cannot tell whether `top_k`, `top_p` and `min_p` are honoured"
        )


async def seeds(bench: Bench) -> None:
    """Equal seeds give equal tokens, different seeds different ones."""
    if not bench.backend.capabilities.seeds:
        raise CaseSkippedError("the backend does not honour seeds")
    context = bench.context()
    hot = Sampling(temperature=1.5)

    async def ids(seed: int) -> tuple[int, ...]:
        request = GenerateRequest(ids=context, max_tokens=32, sampling=hot, seed=seed)
        return (await bench.backend.generate(request)).ids

    require(await ids(42) == await ids(42), "seed 42 gave two different texts")
    require(
        len({await ids(seed) for seed in range(4)}) > 1, "four different seeds gave the same text"
    )


async def samples_stay_distinct(bench: Bench) -> None:
    """Sixteen samples of one prompt stay distinct while scores run in the same batch."""
    context = bench.context()
    hot = Sampling(temperature=1.5)
    requests = [
        GenerateRequest(ids=context, max_tokens=48, sampling=hot, seed=100 + n) for n in range(16)
    ]
    samples = [asyncio.create_task(bench.backend.generate(request)) for request in requests]

    async def keep_scoring() -> None:
        while not all(sample.done() for sample in samples):
            await bench.backend.score(ScoreRequest(ids=context, start=1))

    if bench.backend.capabilities.scores:
        await asyncio.gather(keep_scoring(), keep_scoring())
    texts = {sample.ids for sample in await asyncio.gather(*samples)}
    require(len(texts) >= 15, f"{len(texts)} distinct samples of 16: some were drawn greedily")


async def length_holds(bench: Bench) -> None:
    """Exactly `max_tokens` tokens come unless the text ends; the usage counts them."""
    context = bench.context()
    for limit in (1, 7):
        request = GenerateRequest(ids=context, max_tokens=limit, sampling=GREEDY)
        reply = await bench.backend.generate(request)
        if reply.ending == "length":
            require(len(reply.ids) == limit, f"{len(reply.ids)} tokens, max_tokens {limit}")
        else:
            require(
                reply.ending == "eos" and reply.ids[-1] in bench.backend.tokenizer.eos_ids,
                f"ended by {reply.ending!r} without a stop string or an end of turn",
            )
        usage = reply.usage
        require(usage.prompt_tokens == len(context), f"prompt_tokens {usage.prompt_tokens}")
        require(
            usage.completion_tokens == len(reply.ids),
            f"completion_tokens {usage.completion_tokens} for {len(reply.ids)} ids",
        )


async def stop_inside_token(bench: Bench) -> None:
    """A stop string that ends inside a token is found; the whole token comes back."""
    await _stops(bench, inside=True)


async def stop_across_tokens(bench: Bench) -> None:
    """A stop string that begins in one token and ends with another is found."""
    await _stops(bench, inside=False)


async def _stops(bench: Bench, *, inside: bool) -> None:
    tokenizer = bench.backend.tokenizer
    for problem in PROBLEMS:
        context = bench.context(problem)
        free = await bench.backend.generate(
            GenerateRequest(ids=context, max_tokens=40, sampling=GREEDY)
        )
        for stop in _stop_candidates(tokenizer, free.ids, inside=inside):
            request = GenerateRequest(
                ids=context, max_tokens=40, sampling=GREEDY, stop=("\x00never", stop)
            )
            reply = await bench.backend.generate(request)
            _check_stopped(tokenizer, reply, stop)
            text = tokenizer.decode(reply.ids)
            require(
                text.endswith(stop) != inside,
                f"{stop!r}: expected the whole last token of {text!r}",
            )
            bench.require_greedy(context, reply.ids, f"up to the stop {stop!r}")
            return
    raise CaseSkippedError("no generation of this model has a token to stop in")


def _stop_candidates(tokenizer: Tokenizer, ids: Sequence[int], *, inside: bool) -> Iterator[str]:
    """Stop strings that first end inside (or at the end of) a token of `ids`."""
    whole = tokenizer.decode(ids)
    heads = [tokenizer.decode(ids[:n]) for n in range(len(ids) + 1)]
    for n in range(1, len(ids)):
        before, after = heads[n], heads[n + 1][len(heads[n]) :]
        if ids[n] in tokenizer.eos_ids:
            return
        # A character that is split over tokens changes the text before it: not usable here.
        if not (whole.startswith(heads[n + 1]) and heads[n + 1].startswith(before)):
            continue
        for reach in (1, 2, 3):
            stop = before[-reach:] + (after[:-1] if inside else after)
            end = len(heads[n + 1]) - inside
            # At least one character before the token and one of the token itself.
            usable = before and len(after) > inside and REPLACEMENT not in stop
            if usable and whole.find(stop) + len(stop) == end:
                yield stop


def _check_stopped(tokenizer: Tokenizer, reply: GenerateReply, stop: str) -> None:
    require(reply.ending == "stop", f"{stop!r}: ended by {reply.ending!r}, not by the stop")
    require(reply.stop == stop, f"{stop!r}: the reply names {reply.stop!r}")
    require(stop in tokenizer.decode(reply.ids), f"{stop!r}: the ids do not contain it")
    require(stop not in tokenizer.decode(reply.ids[:-1]), f"{stop!r}: tokens came after the stop")


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        greedy_equals_reference,
        continuation,
        continuation_in_pieces,
        generated_logprobs,
        top_logprobs,
        narrow_sampling_is_greedy,
        filters_hold,
        seeds,
        samples_stay_distinct,
        length_holds,
        stop_inside_token,
        stop_across_tokens,
    )
}
