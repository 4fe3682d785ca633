"""vLLM's scores by the engine plugin, on a server with everything that could spoil them.

Its cache is too small for what runs on it, a prompt takes several steps, n-grams are guessed ahead,
and generations and scores have priorities: requests are cut, put off and computed again.
"""

import asyncio
import random
import re
from pathlib import Path

import pytest

from atts_harness import plugins
from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest

from .conftest import ENGINE, WINDOW

PLUGIN = "atts_tail plugin"
INTERPRETED = Path(__file__).resolve().parent / "interpreted"
SAMPLES = 32
TURNS = 4
TURN_TOKENS = 60
# float32: other chunks, other sums.
TOLERANCE = 5e-5
HARD = [
    *("--block-size", "32", "--num-gpu-blocks-override", "96"),
    *("--max-num-batched-tokens", "160"),
    "--speculative-config",
    '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}',
]


@pytest.fixture(scope="module")
def hard(loop, folder, tmp_path_factory):
    kind = plugins.backend("vllm")
    options = kind.options(
        dtype="float32", max_length=WINDOW, devices="cpu", max_num_seqs=SAMPLES, server_args=HARD
    )
    spec = BackendSpec("vllm", str(folder), options, "target", str(tmp_path_factory.mktemp("run")))
    opened = loop.run(kind.open(spec))
    yield opened
    loop.run(opened.aclose())


async def counter(backend, name):
    told = (await backend.http.exchange("GET", "/metrics")).decode()
    return sum(float(n) for n in re.findall(rf"^vllm:{name}_total\{{.*\}} (\S+)$", told, re.M))


def the_same_with_everything_at_once(loop, hard, reference):
    assert PLUGIN in hard.identity.server["score_route"]
    assert hard.capabilities.scores_read_cache
    scored = []

    async def sample(number):
        draw = random.Random(number)
        size = hard.tokenizer.vocab_size
        ids = hard.tokenizer.encode("Compute 17 + 5. " * 30)
        for turn in range(TURNS):
            start = len(ids)
            ids += tuple(draw.randrange(size) for _ in range(TURN_TOKENS))
            request = ScoreRequest(ids=ids, start=start, priority=draw.randrange(3))
            scored.append((request, await hard.score(request)))
            if turn % 2:
                asked = GenerateRequest(
                    ids=ids,
                    max_tokens=TURN_TOKENS,
                    sampling=Sampling(temperature=0.0),
                    priority=draw.randrange(3),
                )
                ids += (await hard.generate(asked)).ids

    async def everything():
        before = {name: await counter(hard, name) for name in COUNTERS}
        await asyncio.gather(*map(sample, range(SAMPLES)))
        return {name: await counter(hard, name) - before[name] for name in COUNTERS}

    spent = loop.run(everything())
    assert spent["num_preemptions"] > 0
    assert spent["prefix_cache_hits"] > 0
    assert len(scored) == SAMPLES * TURNS
    off = []
    for request, reply in scored:
        expected = reference.logprobs(request.ids)[request.start - 1 :]
        off += [abs(a - b) for a, b in zip(reply.logprobs, expected, strict=True)]
        cached = reply.usage.cached_tokens
        assert 0 <= cached < request.start
    assert max(off) < TOLERANCE
    assert any(reply.usage.cached_tokens for _, reply in scored)


COUNTERS = ("num_preemptions", "prefix_cache_hits")


def other_requests_get_every_row(loop, hard, reference):
    ids = hard.tokenizer.encode("Compute 17 + 5. " * 30)
    body = {"model": hard.served_model, "prompt": list(ids), "max_tokens": 1, "prompt_logprobs": 0}
    for start in (None, 0, len(ids), "5"):
        extra = {} if start is None else {"vllm_xargs": {"atts_score_from": start}}
        told = loop.run(hard.http.post("/v1/completions", body | extra, dict))
        rows = told["choices"][0]["prompt_logprobs"]
        assert rows[0] is None
        values = [next(iter(row.values()))["logprob"] for row in rows[1:]]
        assert values == pytest.approx(reference.logprobs(ids), abs=TOLERANCE)


def a_server_told_to_leave_the_plugin_out(loop, folder, reference, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    kind = plugins.backend("vllm")
    options = kind.options(dtype="float32", max_length=WINDOW, devices="cpu")
    spec = BackendSpec("vllm", str(folder), options, "target", str(tmp_path))

    async def score():
        backend = await kind.open(spec)
        try:
            ids = backend.tokenizer.encode("Compute 17 + 5. " * 30)
            request = ScoreRequest(ids=ids, start=len(ids) - 9)
            return request, [await backend.score(request) for _ in range(2)], backend.identity
        finally:
            await backend.aclose()

    request, replies, told = loop.run(score())
    assert PLUGIN not in told.server["score_route"]
    expected = reference.logprobs(request.ids)[request.start - 1 :]
    for reply in replies:
        assert reply.logprobs == pytest.approx(expected, abs=TOLERANCE)
        assert reply.usage.computed_tokens == len(request.ids)


def the_same_with_the_v2_runner(loop, folder, reference, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("PYTHONPATH", str(INTERPRETED))
    kind = plugins.backend("vllm")
    options = kind.options(dtype="float32", max_length=WINDOW, devices="cpu", max_num_seqs=4)
    spec = BackendSpec("vllm", str(folder), options, "target", str(tmp_path))

    async def scores():
        backend = await kind.open(spec)
        try:
            ids = backend.tokenizer.encode("Compute 17 + 5. " * 60)
            # The first one alone, and twice; the last two side by side.
            starts = (len(ids) - 200, len(ids) - 9, len(ids) - 9)
            asked = [ScoreRequest(ids=ids[: start + 9], start=start) for start in starts]
            replies = [await backend.score(request) for request in asked]
            replies += await asyncio.gather(*map(backend.score, asked[:2]))
            return [*asked, *asked[:2]], replies, backend.identity.server["score_route"]
        finally:
            await backend.aclose()

    asked, replies, route = loop.run(scores())
    assert "Using V2 Model Runner" in (tmp_path / "logs" / "target-vllm.log").read_text()
    assert PLUGIN in route
    for request, reply in zip(asked, replies, strict=True):
        expected = reference.logprobs(request.ids)[request.start - 1 :]
        assert reply.logprobs == pytest.approx(expected, abs=TOLERANCE)
    assert all(
        0 < r.usage.cached_tokens < q.start for q, r in zip(asked[1:], replies[1:], strict=True)
    )


if ENGINE == "vllm":  # a case that is not there cannot be skipped

    def test_many_scores_at_once_are_the_same_and_read_the_cache(loop, hard, reference):
        the_same_with_everything_at_once(loop, hard, reference)

    def test_requests_that_name_no_start_get_every_row(loop, hard, reference):
        other_requests_get_every_row(loop, hard, reference)

    def test_vllm_plugins_leaves_it_out(loop, folder, reference, monkeypatch, tmp_path):
        a_server_told_to_leave_the_plugin_out(loop, folder, reference, monkeypatch, tmp_path)

    def test_the_v2_runner_returns_the_same_tails(loop, folder, reference, monkeypatch, tmp_path):
        the_same_with_the_v2_runner(loop, folder, reference, monkeypatch, tmp_path)
