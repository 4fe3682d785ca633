"""The mock engine over HTTP, spoken to by the real clients."""

import asyncio
import contextlib
import importlib

import aiohttp
import pytest

from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import (
    BackendUnavailableError,
    BadRequestError,
    MalformedReplyError,
    RefusedError,
)
from atts_harness.journal.hashing import request_hash
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_faults import FAULTS, FaultPlan, request_key
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_server import MockServer
from atts_harness.testing.scripted import ByteTokenizer

DIALECTS = ("sglang", "vllm")
IDS = tuple(b"a context of some length")
GENERATE = GenerateRequest(ids=IDS, max_tokens=40, seed=3, sampling=Sampling(top_k=5))
SCORE = ScoreRequest(ids=IDS, start=7)


@pytest.fixture(autouse=True)
def tokenizer_of_bytes(monkeypatch):
    """The clients load a tokenizer by name; the mock has no folder of one."""
    for module in ("atts_sglang.backend", "atts_vllm.backend"):
        monkeypatch.setattr(f"{module}.open_tokenizer", lambda spec, served: ByteTokenizer())


def talk(dialect, conversation, engine=None):
    """Open a real client, examination and all, and run `conversation(backend, server)`."""
    kind = importlib.import_module(f"atts_{dialect}.plugin").KIND

    async def go():
        served = engine or MockEngine()
        planned, served.faults = served.faults, FaultPlan()
        law, served.latency = served.latency, fixed(0.0)
        async with MockServer(served, dialect) as server:
            options = kind.options(url=server.url)
            backend = await kind.open(BackendSpec(dialect, None, options))
            served.faults, served.latency = planned, law
            served.log.clear()
            try:
                return await conversation(backend, server)
            finally:
                await backend.aclose()

    return asyncio.run(go())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_over_http_an_engine_says_what_it_says_in_process(dialect):
    async def conversation(backend, server):
        tops = GenerateRequest(ids=IDS, max_tokens=9, seed=3, top_logprobs=2)
        stop = GenerateRequest(ids=IDS, max_tokens=40, seed=3, stop=("e",))
        return [
            await backend.generate(GENERATE),
            await backend.score(SCORE),
            await backend.generate(tops),
            await backend.generate(stop),
        ]

    async def inside():
        backend = MockBackend(MockEngine())
        tops = GenerateRequest(ids=IDS, max_tokens=9, seed=3, top_logprobs=2)
        stop = GenerateRequest(ids=IDS, max_tokens=40, seed=3, stop=("e",))
        return [
            await backend.generate(GENERATE),
            await backend.score(SCORE),
            await backend.generate(tops),
            await backend.generate(stop),
        ]

    over_http, in_process = talk(dialect, conversation), asyncio.run(inside())
    for told, expected in zip(over_http, in_process, strict=True):
        assert getattr(told, "ids", None) == getattr(expected, "ids", None)
        assert getattr(told, "ending", None) == getattr(expected, "ending", None)
        assert getattr(told, "stop", None) == getattr(expected, "stop", None)
        assert told.usage.prompt_tokens == expected.usage.prompt_tokens
        assert told.usage.completion_tokens == expected.usage.completion_tokens
    assert over_http[1].logprobs == pytest.approx(in_process[1].logprobs)
    assert over_http[2].top_logprobs == in_process[2].top_logprobs


SEEN = {
    "500": BackendUnavailableError,
    "429": BackendUnavailableError,
    "timeout": TimeoutError,
    "reset": BackendUnavailableError,
    "truncated": MalformedReplyError,
    "nan": MalformedReplyError,
    "length": MalformedReplyError,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_fault_reaches_a_client_as_the_error_it_is(dialect, fault):
    engine = MockEngine(faults=FaultPlan({fault: 1.0}, most=1, retry_after=7.0))

    async def conversation(backend, server):
        found = []
        for request in (GENERATE, SCORE):
            ask = backend.generate if request is GENERATE else backend.score
            with pytest.raises(SEEN[fault]) as caught:
                async with asyncio.timeout(0.5 if fault == "timeout" else None):
                    await ask(request)
            found.append(getattr(caught.value, "retry_after", None))
            await ask(request)
        return found

    asked_to_wait = talk(dialect, conversation, engine)
    assert asked_to_wait == [7.0 if fault == "429" else None] * 2
    keys = [request_key(request_hash(request)) for request in (GENERATE, SCORE)]
    assert [(entry.key, entry.fault) for entry in engine.log] == [
        (keys[0], fault),
        (keys[0], None),
        (keys[1], fault),
        (keys[1], None),
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_can_go_away_and_come_back_at_the_same_place(dialect):
    async def conversation(backend, server):
        before = await backend.generate(GENERATE)
        await server.go_away()
        with pytest.raises(BackendUnavailableError):
            await backend.generate(GENERATE)
        await server.come_back()
        return before, await backend.generate(GENERATE)

    before, after = talk(dialect, conversation)
    assert before.ids == after.ids


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_real_engine_refuses_is_refused(dialect):
    async def conversation(backend, server):
        tokenizer = type(server.engine.tokenizer)()
        tokenizer.vocab_size += 10
        backend.tokenizer, backend.max_length = tokenizer, 1 << 20
        with pytest.raises(BadRequestError, match="vocabulary"):
            await backend.generate(GenerateRequest(ids=(5, tokenizer.vocab_size - 1), max_tokens=4))
        with pytest.raises(RefusedError):
            await backend.generate(GenerateRequest(ids=(5,) * 999, max_tokens=4))

    talk(dialect, conversation, MockEngine(max_length=500))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_figures_are_told_in_the_engines_own_names(dialect):
    async def conversation(backend, server):
        await backend.generate(GENERATE)
        async with (
            aiohttp.ClientSession() as session,
            session.get(server.url + "/metrics") as response,
        ):
            text = await response.text()
        figures = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            figures[name.partition("{")[0]] = float(value)
        return figures, server.engine

    figures, engine = talk(dialect, conversation)
    names = {"sglang": "sglang:prompt_tokens_total", "vllm": "vllm:prompt_tokens_total"}
    assert figures[names[dialect]] == engine.tokens["prompt"] >= len(IDS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dropped_request_frees_its_slot(dialect):
    async def conversation(backend, server):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await backend.generate(GENERATE)
        server.engine.latency = fixed(0.0)
        return await backend.generate(GENERATE)

    engine = MockEngine(slots=1, latency=fixed(1000.0))
    assert len(talk(dialect, conversation, engine).ids) >= 8


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_speculative_decoding_proposed_comes_with_each_reply(dialect):
    async def conversation(backend, server):
        return await backend.generate(GENERATE), await backend.metrics()

    reply, figures = talk(dialect, conversation, MockEngine(proposes=3))
    proposed = 3 * len(reply.ids)
    assert (reply.usage.proposed_tokens, reply.usage.accepted_tokens) == (proposed, proposed // 2)
    if dialect == "vllm":  # SGLang's own figures are rates of its last batch
        assert figures["proposed_tokens"] >= proposed
    plain, _ = talk(dialect, conversation)
    assert plain.usage.proposed_tokens is None
