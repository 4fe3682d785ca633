"""The OpenAI-compatible backend against servers that tell less than the engines do."""

import asyncio
import itertools
import json

import msgspec
import pytest
from aiohttp import web
from atts_openai.options import OpenAIOptions
from atts_openai.plugin import KIND

from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import BadRequestError, SettingError
from atts_harness.identity import decisive
from atts_harness.testing.conformance_folder import train_tokenizer

TEXT = "So 17 + 5 = 22.\n\nThe answer"


class Server:
    """A completions server that writes `TEXT`, with what it tells chosen by the test.

    Args:
        tokenizer: the model's.
        takes_ids: prompts of ids are accepted.
        tells_ids: generated tokens are named by id.
        echoes: an echo with log-probabilities is given.
        strict: fields beyond OpenAI's are refused.
        window: told by the list of models; None: not told.
        first: a beginning-of-text token is put before texts.
        filters: which of `top_k` and `min_p` it takes; the others are ignored.
        model: name or folder.
        text: what it writes, or a function that says so.
    """

    def __init__(self, tokenizer, **can):
        self.tokenizer = tokenizer
        self.can = {
            "takes_ids": True,
            "tells_ids": True,
            "echoes": True,
            "strict": False,
            "filters": (),
            "model": "m",
            "window": 512,
            "first": False,
            "text": TEXT,
        } | can
        self.seen = []

    async def models(self, request):
        model = {"id": self.can["model"], "object": "model"}
        if self.can["window"]:
            model["max_model_len"] = self.can["window"]
        return web.json_response({"data": [model]})

    def refuse(self, message):
        return web.json_response({"error": {"message": message}}, status=400)

    async def completions(self, request):
        body = json.loads(await request.read())
        self.seen.append(body)
        known = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop"}
        known |= {"logprobs", "echo"}
        if self.can["strict"] and set(body) - known:
            return self.refuse(f"Unrecognized request argument: {min(set(body) - known)}")
        prompt = body["prompt"]
        if not any(prompt):  # as SGLang 0.5.23 does: ids of 0 only are an empty prompt, too
            return self.refuse("Prompt cannot be empty")
        if isinstance(prompt, str):
            prompt = [0] * self.can["first"] + self.ids(prompt)
        elif not self.can["takes_ids"]:
            return self.refuse("prompt must be a string")
        if body.get("echo") and not (self.can["echoes"] and body.get("logprobs")):
            return self.refuse("echo is not supported")
        written = self.can["text"] if isinstance(self.can["text"], str) else self.can["text"]()
        alone = any(body.get(f) == {"top_k": 1, "min_p": 1.0}[f] for f in self.can["filters"])
        drawn = 0 if alone else body.get("seed", 0)
        new = self.ids(f"{drawn} {written}")[: body["max_tokens"]]
        text, reason = self.tokenizer.decode(new), "length"
        for stop in body.get("stop") or ():
            if stop in text:
                text, reason = text[: text.index(stop)], "stop"
                new = self.ids(text)
        echoed = prompt + new if body.get("echo") else new
        values = [None if i == 0 and body.get("echo") else -1.0 - id_ / 1000
                  for i, id_ in enumerate(echoed)]  # fmt: skip
        choice = {"text": text, "finish_reason": reason, "logprobs": None}
        if self.can["tells_ids"] and body.get("return_token_ids"):
            choice["token_ids"] = new
        if body.get("logprobs") is not None:
            as_ids = self.can["tells_ids"] and body.get("return_tokens_as_token_ids")
            names = [f"token_id:{i}" if as_ids else self.tokenizer.decode([i]) for i in echoed]
            tops = [None if value is None else {name: value}
                    for name, value in zip(names, values, strict=True)]  # fmt: skip
            choice["logprobs"] = {"tokens": names, "token_logprobs": values, "top_logprobs": tops}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(new)}
        return web.json_response({"choices": [choice], "usage": usage})

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)


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

    def runner(use, *, options=None, **can):
        async def main():
            server = Server(tokenizer, **can)
            app = web.Application()
            app.router.add_get("/v1/models", server.models)
            app.router.add_post("/v1/completions", server.completions)
            site = web.AppRunner(app)
            await site.setup()
            await web.TCPSite(site, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{site.addresses[0][1]}/v1"
            given = OpenAIOptions(**{"url": url, "tokenizer": str(folder)} | (options or {}))
            try:
                backend = await KIND.open(BackendSpec("openai", None, given, "target"))
                try:
                    return await use(backend, server)
                finally:
                    await backend.aclose()
            finally:
                await site.cleanup()

        return asyncio.run(main())

    return runner


def ask(backend, **fields):
    ids = backend.tokenizer.encode("Compute 17 + 5.")
    usual = {"ids": ids, "max_tokens": 24, "sampling": Sampling(temperature=0.7), "seed": 3}
    return GenerateRequest(**(usual | fields))


def test_a_server_that_tells_ids_and_echoes(run):
    async def use(backend, server):
        assert backend.capabilities.scores
        assert backend.capabilities.seeds
        reply = await backend.generate(ask(backend, top_logprobs=1))
        assert backend.tokenizer.decode(reply.ids).startswith("3 So 17")
        assert reply.logprobs == pytest.approx([-1.0 - id_ / 1000 for id_ in reply.ids])
        assert server.seen[-1]["prompt"] == list(ask(backend).ids)
        ids = ask(backend).ids
        score = await backend.score(ScoreRequest(ids=ids, start=2))
        assert score.logprobs == pytest.approx([-1.0 - id_ / 1000 for id_ in ids[2:]])
        assert score.usage.scored_tokens == len(ids) - 2
        assert score.usage.completion_tokens == 0

    run(use)


@pytest.mark.parametrize("takes_ids", [True, False])
def test_a_ping_is_no_empty_prompt(run, takes_ids):
    async def use(backend, server):
        await backend.ping()
        assert any(server.seen[-1]["prompt"])

    run(use, takes_ids=takes_ids)


def test_a_server_that_cannot_score_serves_as_a_draft_and_says_so(run):
    async def use(backend, server):
        assert not backend.capabilities.scores
        told = backend.identity.server["dialect"]
        assert told["score_way"] == "none"
        with pytest.raises(BadRequestError, match="it may serve as a draft only"):
            await backend.score(ScoreRequest(ids=ask(backend).ids, start=1))
        assert (await backend.generate(ask(backend))).ids

    run(use, echoes=False)


def test_a_strict_server_without_ids_gets_openais_fields_only(run):
    async def use(backend, server):
        server.seen.clear()
        reply = await backend.generate(ask(backend))
        assert set(server.seen[-1]) == {
            "model", "prompt", "max_tokens", "temperature", "top_p", "seed",
        }  # fmt: skip
        text = backend.tokenizer.decode(reply.ids)
        assert f"3 {TEXT}".startswith(text)
        assert not backend.capabilities.scores
        assert backend.capabilities.top_logprobs == 0

    run(use, strict=True, tells_ids=False)


def test_a_server_that_takes_text_only(run):
    async def use(backend, server):
        await backend.generate(ask(backend))
        assert server.seen[-1]["prompt"] == "Compute 17 + 5."

    run(use, takes_ids=False, tells_ids=False)


def test_a_server_that_puts_the_beginning_of_the_text_itself_is_not_sent_another(run):
    async def use(backend, server):
        first = min(backend.tokenizer.named.values())
        await backend.generate(ask(backend, ids=(first, *ask(backend).ids)))
        assert server.seen[-1]["prompt"] == "Compute 17 + 5."

    run(use, takes_ids=False, tells_ids=False, first=True)


def test_a_stop_that_is_not_told_is_found_here(run):
    async def use(backend, server):
        server.seen.clear()
        reply = await backend.generate(ask(backend, stop=("zzz", "= 2")))
        assert "stop" not in server.seen[-1]
        text = backend.tokenizer.decode(reply.ids)
        assert (reply.ending, reply.stop) == ("stop", "= 2")
        assert "= 2" in text
        assert "= 2" not in backend.tokenizer.decode(reply.ids[:-1])
        assert reply.usage.completion_tokens > len(reply.ids)

    run(use)


def test_a_window_that_is_not_told_must_be_given(run):
    async def use(backend, server):
        assert backend.max_length == 128

    run(use, window=None, options={"max_length": 128})
    with pytest.raises(SettingError, match=r"^target_max_length: "):
        run(use, window=None)


@pytest.mark.parametrize("takes_ids", [True, False])
def test_text_that_is_split_in_another_way_is_refused(run, tmp_path, takes_ids):
    train_tokenizer(["other words altogether"], size=300).save_pretrained(tmp_path)

    async def use(backend, server):
        raise AssertionError("opened")

    with pytest.raises(SettingError, match=r"^target_tokenizer: "):
        run(use, takes_ids=takes_ids, options={"tokenizer": str(tmp_path)})


@pytest.mark.parametrize("url", [None, "localhost:8000"])
def test_a_url_is_needed(url):
    with pytest.raises(SettingError, match=r"^target_url: "):
        KIND.check(BackendSpec("openai", "m", OpenAIOptions(url=url), "target"))


def test_the_dialect_can_be_recorded(run):
    async def use(backend, server):
        assert msgspec.json.encode(backend.identity)

    run(use)


def test_a_model_that_does_not_score_is_known_by_what_it_writes(run):
    async def use(backend, server):
        before = backend.identity
        assert before.probe is None
        assert [text[:6] for _, text in before.greedy] == ["0 So 1"] * 4
        assert decisive(before, await backend.identify()) == []
        server.can["text"] = "Another model says something else."
        (change,) = decisive(before, await backend.identify())
        assert change.name == "greedy"

    run(use, echoes=False)


def test_a_server_that_is_never_greedy_is_known_by_its_name_only(run):
    drawn = itertools.count()

    async def use(backend, server):
        assert backend.identity.greedy is None
        assert (await backend.identify()).greedy is None

    run(use, echoes=False, text=lambda: f"{next(drawn)} {TEXT}")


def test_a_model_that_scores_is_not_asked_to_write(run):
    async def use(backend, server):
        assert backend.identity.probe is not None
        assert backend.identity.greedy is None

    run(use)


def test_what_a_server_takes_of_sampling_is_tried_and_stands_in_the_record(run, caplog):
    async def use(backend, server):
        told = backend.identity.record()["server"]["drawing"]
        assert told["takes"] == ["top_k", "min_p"]
        assert told["told"]["top_k"] == -1
        assert told["left_to_the_server"] == "nothing"
        server.seen.clear()
        await backend.generate(ask(backend, sampling=Sampling(top_k=5)))
        assert (server.seen[-1]["top_k"], server.seen[-1]["min_p"]) == (5, 0.0)

    run(use, filters=("top_k", "min_p"))
    assert "defaults" not in caplog.text


@pytest.mark.parametrize("strict", [True, False])
def test_a_server_that_takes_no_filter_is_said_to_use_its_own(run, caplog, strict):
    """It refuses what is beyond OpenAI's API, or ignores it."""

    async def use(backend, server):
        told = backend.identity.record()["server"]["drawing"]
        assert told["takes"] == []
        assert "does not take top_k, min_p" in told["left_to_the_server"]
        for asked in (Sampling(top_k=5), Sampling(min_p=0.1)):
            server.seen.clear()
            with pytest.raises(
                SettingError, match=r"^(top_k|min_p): the server at target_url does"
            ):
                await backend.generate(ask(backend, sampling=asked))
            assert server.seen == []

    run(use, strict=strict)
    assert "target_url: the server does not take top_k, min_p" in caplog.text
    assert "its defaults shape every draw, and they are not known here" in caplog.text


def test_what_the_models_own_file_says_is_told(run, folder, caplog, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "generation_config.json").write_text('{"top_k": 20, "min_p": 0.0}')

    async def use(backend, server):
        pass

    run(use, strict=True, model=str(tmp_path))
    assert "the model's own file says top_k=20" in caplog.text
