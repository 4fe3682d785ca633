"""The vLLM backend and `atts doctor` on a server with what no CPU build has: a route for tails."""

import asyncio
import base64
import io
import json
import random

import numpy as np
import pytest
from aiohttp import web
from atts_vllm.options import VLLMOptions
from atts_vllm.plugin import KIND
from atts_vllm.speculation import wrong_draws

from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.doctor.examine import examine
from atts_harness.errors import BackendUnavailableError, EngineGoneError, SettingError
from atts_harness.testing.conformance_folder import train_tokenizer

WINDOW = 512


def value(id_):
    """Log-probability of a token, whatever stands before it."""
    return -1.0 - id_ / 1000


class Server:
    """Answers as vLLM does.

    Args:
        tokenizer: the model's.
        tails: `none` (404), `right`, `wrong` (other values than the other route's) or `cached`
            (dropped while the cache is read).
        plugin: `none`, or the engine plugin is there: `right`, `wrong` (other values), `short` (a
            row is missing), `uncached` (the cache is off), `fails` (status 500), `stale` (wrong
            only where the segment itself is in the cache, so from the second time on).
        greedy: samples are all alike, whatever their seed.
        figures: labels of the cache's configuration in `/metrics`; None: it has no such route.
    """

    def __init__(self, tokenizer, tails="none", plugin="none", greedy=False, figures=None):
        self.figures = figures
        self.tokenizer = tokenizer
        self.tails = tails
        self.plugin = plugin
        self.seen = set()
        self.greedy = greedy
        self.scored = []

    def app(self):
        app = web.Application()
        app.router.add_get("/version", self.version)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_post("/v1/completions", self.completions)
        if self.figures is not None:
            app.router.add_get("/metrics", self.metrics)
        if self.tails != "none":
            app.router.add_post("/inference/v1/generate", self.tail)
        return app

    async def metrics(self, request):
        return web.Response(text=f"# TYPE x gauge\nvllm:cache_config_info{{{self.figures}}} 1.0\n")

    async def version(self, request):
        return web.json_response({"version": "0.32.0"})

    async def models(self, request):
        model = {"id": "m", "owned_by": "vllm", "root": None, "max_model_len": WINDOW}
        return web.json_response({"data": [model]})

    async def tokenize(self, request):
        text = json.loads(await request.read())["prompt"]
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return web.json_response({"tokens": ids})

    async def completions(self, request):
        body = json.loads(await request.read())
        prompt = body["prompt"]
        seed = None if self.greedy or not body["temperature"] else body.get("seed")
        drawn = random.Random(seed or 0)
        new = [drawn.randrange(200, 290) for _ in range(body["max_tokens"])]
        choice = {"finish_reason": "length", "stop_reason": None, "token_ids": new}
        if body.get("logprobs") is not None:
            names = [f"token_id:{id_}" for id_ in new]
            choice["logprobs"] = {
                "tokens": names,
                "token_logprobs": [value(id_) for id_ in new],
                "top_logprobs": [{name: value(id_)} for name, id_ in zip(names, new, strict=True)],
            }
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(new)}
        start = body.get("vllm_xargs", {}).get("atts_score_from")
        if self.plugin == "fails" and start is not None:
            return web.Response(status=500)
        if self.plugin != "none" and start is not None:
            self.scored.append("plugin")
            bad = self.plugin == "wrong" or (self.plugin == "stale" and tuple(prompt) in self.seen)
            self.seen.add(tuple(prompt))
            rest = [{str(id_): {"logprob": value(id_) - 0.1 * bad}} for id_ in prompt[start:]]
            choice["prompt_logprobs"] = [None, *rest[self.plugin == "short" :]]
            if self.plugin != "uncached":
                usage["prompt_tokens_details"] = {"cached_tokens": start - 1}
        elif "prompt_logprobs" in body:
            self.scored.append("/v1/completions")
            rest = [{str(id_): {"logprob": value(id_)}} for id_ in prompt[1:]]
            choice["prompt_logprobs"] = [None, *rest]
        return web.json_response({"choices": [choice], "usage": usage})

    async def tail(self, request):
        body = json.loads(await request.read())
        asked = body["sampling_params"]
        assert "prompt_logprobs" not in asked  # beside a cache that is read it ends the engine
        reads = not asked["skip_reading_prefix_cache"]
        self.scored.append("tail, cache" if reads else "tail")
        rows = [
            [value(id_) - (self.tails == "wrong")] for (id_,) in asked["prompt_logprob_token_ids"]
        ]
        file = io.BytesIO()
        np.save(file, np.asarray(rows, dtype=np.float32))
        dropped = reads and self.tails == "cached"
        cached = asked["prompt_logprob_start"] if reads and not dropped else 0
        return web.json_response(
            {
                "prompt_token_id_logprobs": None
                if dropped
                else base64.b64encode(file.getvalue()).decode(),
                "usage": {
                    "prompt_tokens": len(body["token_ids"]),
                    "prompt_tokens_details": {"cached_tokens": cached},
                },
            }
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def run(folder):
    """Open a backend on a server that can do what is said, and do something with it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def runner(use, **can):
        async def main():
            server = Server(tokenizer, **can)
            site = web.AppRunner(server.app())
            await site.setup()
            await web.TCPSite(site, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{site.addresses[0][1]}"
            options = VLLMOptions(url=url, tokenizer=str(folder))
            try:
                backend = await KIND.open(BackendSpec("vllm", None, options, "target"))
                try:
                    server.scored.clear()
                    return await use(backend, server)
                finally:
                    await backend.aclose()
            finally:
                await site.cleanup()

        return asyncio.run(main())

    return runner


def scored(run, **can):
    """A score of three tokens behind five: the reply, the routes taken, what the backend says."""

    async def use(backend, server):
        ids = backend.tokenizer.encode("Compute 17 + 5, then 9 * 4 and so on.")[:8]
        reply = await backend.score(ScoreRequest(ids=ids, start=5))
        assert reply.logprobs == pytest.approx([value(id_) for id_ in ids[5:]], abs=1e-5)
        return reply, server.scored, backend

    return run(use, **can)


def test_a_route_for_tails_is_found_and_used(run):
    reply, routes, backend = scored(run, tails="right")
    assert routes == ["tail, cache"]
    assert backend.capabilities.scores_read_cache
    assert backend.identity.server["score_route"] == "/inference/v1/generate"
    assert reply.usage.computed_tokens == 4  # from one before the segment


@pytest.mark.parametrize("tails", ["none", "wrong"])
def test_a_route_that_is_not_there_or_says_otherwise_is_not_used(run, tails):
    reply, routes, backend = scored(run, tails=tails)
    assert routes == ["/v1/completions"]
    assert not backend.capabilities.scores_read_cache
    assert reply.usage.computed_tokens == 8


def test_a_tail_that_the_cache_swallowed_is_asked_for_again_and_both_count(run):
    reply, routes, _ = scored(run, tails="cached")
    assert routes == ["tail, cache", "tail"]
    assert reply.usage.computed_tokens == 16


def test_the_engine_plugin_is_found_and_used(run):
    reply, routes, backend = scored(run, plugin="right")
    assert routes == ["plugin"]
    assert backend.capabilities.scores_read_cache
    assert "atts_tail plugin" in backend.identity.server["score_route"]
    assert reply.usage.computed_tokens == 4


def test_a_route_of_the_engines_own_goes_before_the_plugin(run):
    assert scored(run, plugin="right", tails="right")[1] == ["tail, cache"]
    assert scored(run, plugin="right", tails="wrong")[1] == ["plugin"]


@pytest.mark.parametrize("plugin", ["wrong", "short", "stale", "fails"])
def test_a_plugin_that_says_otherwise_is_not_used_and_that_is_said(run, plugin, caplog):
    reply, routes, backend = scored(run, plugin=plugin)
    assert routes == ["/v1/completions"]
    assert not backend.capabilities.scores_read_cache
    assert reply.usage.computed_tokens == 8
    assert "do not use the engine's atts_tail plugin" in caplog.text


def test_a_server_without_the_plugin_is_no_reason_for_a_warning(run, caplog):
    assert scored(run)[1] == ["/v1/completions"]
    assert not caplog.text


def test_a_plugin_where_the_cache_is_off_still_makes_replies_short(run):
    reply, routes, backend = scored(run, plugin="uncached")
    assert routes == ["plugin"]
    assert not backend.capabilities.scores_read_cache
    assert reply.usage.computed_tokens == 8


def findings(run, **can):
    async def use(backend, server):
        return {f.subject: f async for f in examine(backend, backend.served_model)}

    return run(use, **can)


def test_the_doctor_says_what_to_do_where_scores_read_no_cache(run):
    told = findings(run)
    assert told["engine"].text == "vllm 0.32.0"
    assert told["scores"].level == "warning"
    assert "by /v1/completions prompt_logprobs: it does not read" in told["scores"].text
    assert "--enable-scale-out" in told["scores"].remedy
    assert "ATTS_VLLM_TAIL=1" in told["scores"].remedy
    assert told["sampling"].level == "ok"
    assert told["context"].level == "warning"  # 512 tokens are one turn
    assert told["template"].level == "note"  # this server has no chat route
    assert findings(run, tails="right")["scores"].level == "ok"
    told = findings(run, plugin="right")["scores"]
    assert told.level == "ok"
    assert "atts_tail plugin" in told.text


@pytest.mark.parametrize(
    ("figures", "warned"),
    [
        ('block_size="128",engine="0",user_specified_block_size="False"', True),
        ('block_size="128",engine="0",user_specified_block_size="True"', False),
        ('block_size="16",engine="0",user_specified_block_size="False"', False),
        (None, False),
    ],
)
def test_the_doctor_warns_of_seeded_prompts_on_the_processor(run, figures, warned):
    told = findings(run, figures=figures)
    assert ("seeds" in told) == warned
    if warned:
        assert told["seeds"].level == "warning"
        assert "--max-num-batched-tokens" in told["seeds"].remedy


def test_the_doctor_finds_samples_that_were_turned_greedy(run):
    found = findings(run, greedy=True)["sampling"]
    assert found.level == "error"
    assert found.text.startswith("1 of 16 samples")
    assert found.remedy


def test_seeds_that_change_nothing_are_not_honoured(run):
    async def use(backend, server):
        asked = GenerateRequest(ids=(5, 6), max_tokens=4, sampling=Sampling(temperature=1.0))
        assert (await backend.generate(asked)).ids
        return backend.capabilities.seeds

    assert run(use)
    assert not run(use, greedy=True)


def test_a_server_that_guesses_ahead_on_the_processor_draws_nothing(run, monkeypatch):
    monkeypatch.setattr("atts_harness.engines.managed.visible_devices", lambda: ("0",))
    on_gpu, on_processor = (
        wrong_draws(BackendSpec("vllm", "m", VLLMOptions(devices=devices), "target"))
        for devices in ("0", "cpu")
    )

    async def use(backend, server):
        hot, cold = (
            GenerateRequest(ids=(5, 6), max_tokens=4, sampling=Sampling(temperature=temperature))
            for temperature in (0.8, 0.0)
        )
        backend.wrong_draws = on_gpu
        assert (await backend.generate(hot)).ids
        backend.wrong_draws = on_processor
        assert (await backend.generate(cold)).ids
        with pytest.raises(SettingError, match=r"^target_temperature: .* target_temperature=0,"):
            await backend.generate(hot)

    run(use)


@pytest.mark.parametrize("ask", ["identify", "ping"])
def test_a_dead_server_of_ours_is_not_waited_for_whatever_is_asked(run, ask):
    class Dead:
        def check(self, error):
            return EngineGoneError("killed")

    async def use(backend, server):
        backend.http.url = "http://127.0.0.1:1"
        with pytest.raises(BackendUnavailableError):
            await getattr(backend, ask)()
        backend.server = Dead()
        try:
            with pytest.raises(EngineGoneError, match="killed"):
                await getattr(backend, ask)()
        finally:
            backend.server = None

    run(use)
