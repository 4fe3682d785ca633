"""Examining a running server through its backend: what `atts doctor` asks."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from atts_harness import guards
from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.backend import EngineBackend
from atts_harness.engines.doctor.finding import Finding
from atts_harness.engines.served import SAMPLE_TEXT
from atts_harness.errors import AttsError, BackendError
from atts_harness.transcript import Message

SAMPLES = 16
SAMPLE_TOKENS = 24
SCORED_TOKENS = 32
# The highest that every engine accepts: at 1 a confident model repeats itself without a defect.
SAMPLE_TEMPERATURE = 2.0
# A few equal texts can be chance; the defect makes all of them equal.
LEAST_DISTINCT = SAMPLES - 2
QUESTION = "What is 12 + 3? Think step by step."
PARTIAL = "First, 12 + 3"
PER_TURN_TOKENS = 500


class ChatUsage(msgspec.Struct):
    """Token counts of a chat completion."""

    prompt_tokens: int


class Chat(msgspec.Struct):
    """A chat completion."""

    usage: ChatUsage


def _dtype(backend: EngineBackend) -> str:
    """The number format, and where it is known from: vLLM's servers do not say it."""
    dtype = backend.identity.dtype
    if dtype is None:
        return "dtype not told"
    if backend.served.dtype in (None, "auto"):
        return f"dtype {dtype} by its config.json; the server does not say what it computes in"
    return f"dtype {dtype}"


async def examine(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    """Findings about an opened backend, each as soon as it is made.

    Args:
        backend: opened, so reachable, with the right model and tokenizer.
        model: name to ask the chat route for.
    """
    identity = backend.identity
    yield _engine(backend)
    yield Finding("ok", "model", f"{identity.model}, {_dtype(backend)}")
    yield Finding(
        "ok", "tokenizer", f"the server splits text as the local one ({identity.tokenizer})"
    )
    yield _context(backend)
    for check in (_template, _continuation, _scores, _remarks, _isolation, _latency):
        try:
            async for finding in check(backend, model):
                yield finding
        except AttsError as error:
            yield Finding("error", check.__name__.strip("_"), str(error))


def _engine(backend: EngineBackend) -> Finding:
    identity = backend.identity
    text = f"{identity.engine} {identity.version or ''}".strip()
    words = None if backend.versions is None else backend.versions.untested(identity.version)
    if words is None:
        return Finding("ok", "engine", text)
    return Finding(
        "warning", "engine", f"{text}: {words}", "see below whether it does what is needed"
    )


def _context(backend: EngineBackend) -> Finding:
    if backend.max_length < 2 * PER_TURN_TOKENS:
        return Finding(
            "warning",
            "context",
            f"{backend.max_length} tokens",
            "serve a longer context, or lower `max_gen_toks`",
        )
    return Finding("ok", "context", f"{backend.max_length} tokens")


async def _template(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    ours = len(backend.tokenizer.render([Message("user", QUESTION)]))
    theirs = await _chat_tokens(backend, model, [{"role": "user", "content": QUESTION}])
    if theirs is None:
        yield Finding("note", "template", "the server has no chat route to compare with")
    elif theirs == ours:
        yield Finding(
            "ok", "template", "the server's chat prompt has as many tokens as the local one"
        )
    else:
        yield Finding(
            "warning",
            "template",
            f"the server's chat prompt has {theirs} tokens, the local one {ours}",
            "requests of this project carry ids and follow the local template; give "
            "`chat_template` or `chat_template_args` if the server's is meant",
        )


async def _continuation(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    """Whether a partial turn is continued, by tokens: closing and reopening it adds some."""
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": PARTIAL},
    ]
    whole = len(
        backend.tokenizer.render([Message("user", QUESTION), Message("assistant", PARTIAL)])
    )
    # If the server's template is another one, only the tokens that the partial turn adds compare.
    ours = len(backend.tokenizer.render([Message("user", QUESTION)]))
    theirs = await _chat_tokens(backend, model, messages[:1])
    by_default = await _chat_tokens(backend, model, messages)
    if by_default is None or theirs is None:
        yield Finding("note", "continuation", "no chat route; token ids continue exactly")
        return
    requested = await _chat_tokens(
        backend, model, messages, continue_final_message=True, add_generation_prompt=False
    )
    whole += theirs - ours
    default_outcome, requested_outcome = (
        _outcome(by_default, theirs, whole),
        _outcome(requested, theirs, whole),
    )
    yield Finding(
        "ok" if by_default == whole else "note",
        "continuation",
        f"a partial assistant message {default_outcome} by default, "
        f"{requested_outcome} with continue_final_message; "
        "requests of this project carry ids, which always continue",
        "other clients must send continue_final_message"
        if by_default != whole == requested
        else "",
    )


def _outcome(tokens: int | None, prompt: int, continued: int) -> str:
    """What a chat route did with a partial turn, judged by the length of its prompt.

    Args:
        tokens: of the prompt with the partial turn; None: it refused.
        prompt: tokens of the prompt without it.
        continued: tokens of a prompt that ends in the partial turn.
    """
    if tokens is None:
        return "is refused"
    if tokens == continued:
        return "is continued"
    if tokens > continued:
        return "restarts"  # closed, and another turn opened behind it
    return (
        "is left out" if tokens <= prompt else f"is cut ({continued - tokens} tokens are missing)"
    )


async def _chat_tokens(
    backend: EngineBackend, model: str, messages: list[dict[str, str]], **fields: Any
) -> int | None:
    body = {"model": model, "messages": messages, "max_tokens": 1, **fields}
    try:
        return (await backend.http.post("/v1/chat/completions", body, Chat)).usage.prompt_tokens
    except BackendError:
        return None


async def _scores(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    can = backend.capabilities
    if not can.scores:
        yield Finding(
            "warning", "scores", "no log-probabilities of prompt tokens", "use it as a draft only"
        )
        return
    # The window must hold the prompt, the generated tokens and one more.
    room = max(1, backend.max_length - SCORED_TOKENS - 1)
    prompt = backend.tokenizer.encode(SAMPLE_TEXT * 8)[:room]
    sampling = Sampling(temperature=1.0)
    segment = (
        await guards.generate(
            backend, GenerateRequest(ids=prompt, max_tokens=SCORED_TOKENS, sampling=sampling)
        )
    ).ids
    score = await guards.score(backend, ScoreRequest(ids=prompt + segment, start=len(prompt)))
    cost = score.usage.computed_tokens / len(segment)
    text = (
        f"a score of {len(segment)} tokens behind {len(prompt)} computes {cost:.2f} times its own"
    )
    if route := backend.identity.server.get("score_route"):
        text += f" by {route}"
    if can.scores_read_cache:
        yield Finding("ok", "scores", text)
    else:
        yield Finding(
            "warning",
            "scores",
            f"{text}: it does not read the prefix cache",
            "expected of vLLM's prompt_logprobs: put this package beside the engine (pip install "
            "--no-deps) and start the server with ATTS_VLLM_TAIL=1 and "
            "--enable-prompt-tokens-details, or with --enable-scale-out on GPU builds from 0.32; "
            "or serve the target with SGLang",
        )
    if not can.seeds:
        yield Finding(
            "note",
            "seeds",
            "equal seeds give different texts",
            "reruns differ; the journal does not",
        )


async def _remarks(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    for finding in await backend.remarks():
        yield finding


async def _isolation(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    """Samples drawn at a temperature stay distinct while greedy requests and scores run."""
    prompt = backend.tokenizer.render([Message("user", QUESTION)])
    drawn = [
        GenerateRequest(
            ids=prompt,
            max_tokens=SAMPLE_TOKENS,
            sampling=Sampling(temperature=SAMPLE_TEMPERATURE),
            seed=n,
        )
        for n in range(SAMPLES)
    ]
    greedy = GenerateRequest(ids=prompt, max_tokens=2, sampling=Sampling(temperature=0.0))
    stop = asyncio.Event()

    async def disturb() -> None:
        while not stop.is_set():
            await guards.generate(backend, greedy)
            if backend.capabilities.scores:
                await guards.score(backend, ScoreRequest(ids=prompt, start=len(prompt) // 2))

    disturbing = asyncio.create_task(disturb())
    try:
        replies = await asyncio.gather(*(guards.generate(backend, request) for request in drawn))
    finally:
        stop.set()
        await asyncio.gather(disturbing, return_exceptions=True)
    distinct = len({reply.ids for reply in replies})
    text = f"{distinct} of {SAMPLES} samples of one prompt differ while greedy requests run"
    if distinct >= LEAST_DISTINCT:
        yield Finding("ok", "sampling", text)
    else:
        yield Finding(
            "error",
            "sampling",
            text,
            "this engine turns sampled requests greedy (SGLang before 0.4.7 does): update it",
        )


async def _latency(backend: EngineBackend, model: str) -> AsyncIterator[Finding]:
    prompt = backend.tokenizer.encode(SAMPLE_TEXT)
    request = GenerateRequest(ids=prompt, max_tokens=1, sampling=Sampling(temperature=0.0))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        await guards.generate(backend, request)
        seconds.append(time.perf_counter() - began)
    yield Finding(
        "ok",
        "latency",
        f"one token in {1e3 * statistics.median(seconds):.0f} ms (median of 5), alone",
    )
