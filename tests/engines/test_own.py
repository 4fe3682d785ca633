"""What each engine does in its own way, and bad input, on the real server."""

import asyncio
import re
import time

import aiohttp
import pytest

from atts_harness import plugins
from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import SettingError
from atts_harness.testing.conformance_folder import train_tokenizer, write_model_folder
from atts_harness.transcript import Message

from .conftest import ENGINE, WINDOW

STALL_SECONDS = 6.0
SEQUENCES = 32
CPU_BLOCK = 128  # tokens of a block of vLLM's cache
SEGMENT = " 17 + 5 = 22, so the answer is 22."


@pytest.fixture
def context(backend):
    return backend.tokenizer.render([Message("user", "Compute 17 + 5. " * 40)])


def test_a_score_computes_what_its_usage_says(loop, backend, context):
    segment = backend.tokenizer.encode(SEGMENT)
    ask = ScoreRequest(ids=context + segment, start=len(context))
    warm = GenerateRequest(ids=context, max_tokens=1, sampling=Sampling(temperature=0.0))
    loop.run(backend.generate(warm))
    usage = loop.run(backend.score(ask)).usage
    assert backend.capabilities.scores_read_cache
    if ENGINE == "vllm":
        # Whole blocks of the cache, up to the token before the segment.
        cached = (len(context) - 1) // CPU_BLOCK * CPU_BLOCK
        assert cached
        assert usage.computed_tokens == len(context) - cached + len(segment)
    else:
        assert usage.computed_tokens == len(segment) + 1


def test_the_backend_knows_whether_seeds_are_honoured(loop, backend, context):
    asked = GenerateRequest(ids=context, max_tokens=32, sampling=Sampling(temperature=1.5), seed=5)
    texts = {loop.run(backend.generate(asked)).ids for _ in range(3)}
    assert backend.capabilities.seeds == (len(texts) == 1)
    assert backend.capabilities.seeds == (ENGINE == "vllm")


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
def test_generated_tokens_carry_untempered_log_probabilities(
    loop, backend, reference, context, temperature
):
    asked = GenerateRequest(
        ids=context, max_tokens=16, sampling=Sampling(temperature=temperature), top_logprobs=1
    )
    reply = loop.run(backend.generate(asked))
    expected = reference.logprobs(context + reply.ids)[len(context) - 1 :]
    assert reply.logprobs == pytest.approx(expected, abs=1e-3)


def test_the_last_id_of_the_vocabulary_is_scored_like_any_other(loop, backend, reference, context):
    last = backend.tokenizer.vocab_size - 1
    ids = (*context, last, 5, last, last)
    reply = loop.run(backend.score(ScoreRequest(ids=ids, start=len(context))))
    assert reply.logprobs == pytest.approx(reference.logprobs(ids)[-4:], abs=1e-3)


def test_a_window_is_filled_to_its_last_token(loop, backend):
    ids = (backend.tokenizer.encode("17 + 5 = 22. ") * WINDOW)[: backend.max_length - 8]
    asked = GenerateRequest(ids=ids, max_tokens=8, sampling=Sampling(temperature=0.0))
    reply = loop.run(backend.generate(asked))
    assert reply.ending == "eos" or len(reply.ids) == 8
    scored = loop.run(backend.score(ScoreRequest(ids=ids[:-1], start=len(ids) - 9)))
    assert len(scored.logprobs) == 8


def test_a_request_that_runs_out_of_time_is_ended_in_the_engine(loop, backend, context):
    asked = GenerateRequest(
        ids=context,
        max_tokens=backend.max_length - len(context),
        sampling=Sampling(temperature=1.5),
    )

    async def give_up():
        async with asyncio.timeout(0.2):
            await asyncio.gather(*(backend.generate(asked) for _ in range(4)))

    with pytest.raises(TimeoutError):
        loop.run(give_up())
    loop.run(backend.ping())


def test_many_seeded_prompts_at_once_leave_the_engine_alive(loop, backend, context):
    """Taken in several steps, they end vLLM on the processor: no offset in its generator."""
    prompts = [(5 + n, *context) for n in range(SEQUENCES)]
    asked = [GenerateRequest(ids=ids, max_tokens=4, seed=n) for n, ids in enumerate(prompts)]

    async def all_at_once():
        return await asyncio.gather(*map(backend.generate, asked))

    replies = loop.run(all_at_once())
    assert [len(reply.ids) <= 4 for reply in replies] == [True] * SEQUENCES
    loop.run(backend.ping())


def test_a_client_that_stalls_for_longer_than_servers_wait_finds_its_connection(loop, backend):
    """Uvicorn closes a connection 5 s after its last reply, unless it is told otherwise."""

    opened = []
    watch = aiohttp.TraceConfig()

    async def opening(session, context, parameters):
        opened.append(1)

    watch.on_connection_create_start.append(opening)

    async def ask_stall_and_ask():
        connector = aiohttp.TCPConnector(keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[watch]) as session:
            body = {"model": backend.served_model, "prompt": [5], "max_tokens": 1}
            for stall in (STALL_SECONDS, 0):
                # POST: aiohttp tries a GET again by itself.
                async with session.post(f"{backend.http.url}/v1/completions", json=body) as reply:
                    assert reply.status == 200
                    await reply.read()
                time.sleep(stall)  # noqa: ASYNC251 - that is the fault

    loop.run(ask_stall_and_ask())
    assert len(opened) == 1


def opened(loop, kind_name, model, **options):
    kind = plugins.backend(kind_name)
    spec = BackendSpec(kind_name, model, kind.options(**options), "target")
    kind.check(spec)
    backend = loop.run(kind.open(spec))
    loop.run(backend.aclose())


@pytest.fixture(scope="module", params=[ENGINE, "openai"])
def kind(request):
    return request.param


def test_another_model_behind_the_url(loop, backend, kind):
    with pytest.raises(SettingError, match=r"^target_url: .* serves .*, not org/other"):
        opened(loop, kind, "org/other", url=backend.http.url)


def test_a_tokenizer_that_is_not_the_servers(loop, backend, kind, tmp_path):
    other = train_tokenizer(["completely different words", "wholly other text"], size=300)
    other.save_pretrained(tmp_path)
    with pytest.raises(SettingError, match=r"^target_tokenizer: ") as caught:
        opened(loop, kind, None, url=backend.http.url, tokenizer=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_window_that_the_server_does_not_have(loop, backend, kind):
    with pytest.raises(SettingError, match=r"^target_max_length: the server's window is "):
        opened(loop, kind, None, url=backend.http.url, max_length=10 * WINDOW)


def test_nobody_at_the_url(loop, kind, folder):
    with pytest.raises(SettingError, match=r"^target_url: no usable .* server at http://127"):
        opened(loop, kind, str(folder), url="http://127.0.0.1:1")


def test_an_engine_that_is_another_one(loop, backend):
    other = "sglang" if ENGINE == "vllm" else "vllm"
    with pytest.raises(SettingError, match=r"^target_url: "):
        opened(loop, other, None, url=f"{backend.http.url}/no-such-prefix")


def test_a_port_in_use(loop, backend, folder):
    port = int(backend.http.url.rpartition(":")[2])
    with pytest.raises(SettingError, match=rf"^target_port: 127.0.0.1:{port} cannot be used"):
        opened(loop, ENGINE, str(folder), port=port, devices="cpu")


def test_a_server_that_cannot_start_says_why(loop, tmp_path):
    folder = write_model_folder(tmp_path / "model", max_length=64)
    (folder / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(SettingError, match=r"^target: .*log: ") as caught:
        opened(loop, ENGINE, str(folder), devices="cpu")
    assert "\n" not in str(caught.value)


def test_too_little_memory_at_the_start_names_the_setting(loop, folder, monkeypatch):
    # A cache that no machine has room for, and a share of one that holds nothing.
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "100000")
    options = {} if ENGINE == "vllm" else {"mem_fraction_static": 0.0001}
    setting = "gpu_memory_utilization" if ENGINE == "vllm" else "mem_fraction_static"
    # SGLang reads the machine's free memory before and after it loads a model. What other processes
    # free meanwhile is room for it, and then it starts.
    for _ in range(5):
        try:
            opened(loop, ENGINE, str(folder), devices="cpu", **options)
        except SettingError as error:
            said = str(error)
            break
    else:
        pytest.fail("it starts with too little memory")
    assert re.match(rf"target_{setting}: .*log: ", said)
    assert "\n" not in said


def test_an_engine_that_is_not_installed(loop, folder, monkeypatch):
    import sys

    from atts_harness.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=rf"pip install 'atts-harness\[{ENGINE}\]'"):
        opened(loop, ENGINE, str(folder), engine_python=sys.executable, devices="cpu")
