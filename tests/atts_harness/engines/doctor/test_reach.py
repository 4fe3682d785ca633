"""`atts doctor` and `atts warmup` on servers that list nothing, want a key, or have little room."""

import asyncio
import json
from dataclasses import dataclass

import pytest
from aiohttp import web
from typer.testing import CliRunner

from atts_harness.cli import build_app
from atts_harness.testing.conformance_folder import train_tokenizer

pytest.importorskip("transformers")


@dataclass
class Server:
    """Serves texts by OpenAI's completions route.

    Attributes:
        tokenizer: the model's.
        lists: whether it lists its model.
        key: what it asks for as a bearer token; None: nothing.
        window: what it lists, and refuses to exceed.
        chat: tokens of a chat route's prompt, by the number of messages and whether the last one
            is asked to be continued; None: it refuses.
    """

    tokenizer: object
    lists: bool = True
    key: str | None = None
    window: int = 2048
    chat: dict[tuple[int, bool], int | None] | None = None

    def app(self):
        @web.middleware
        async def guard(request, handler):
            if self.key not in (None, request.headers.get("X-Key")):
                return web.json_response({"error": {"message": "who are you?"}}, status=401)
            return await handler(request)

        app = web.Application(middlewares=[guard])
        if self.lists:
            app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.completions)
        if self.chat is not None:
            app.router.add_post("/v1/chat/completions", self.converse)
        return app

    async def models(self, request):
        return web.json_response({"data": [{"id": "m", "max_model_len": self.window}]})

    async def completions(self, request):
        body = json.loads(await request.read())
        if body["model"] != "m":
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        ids = self.ids(body["prompt"]) if isinstance(body["prompt"], str) else body["prompt"]
        if len(ids) + body["max_tokens"] > self.window or body.get("echo"):
            return web.json_response({"error": {"message": "too long, or an echo"}}, status=400)
        written = self.ids(f"{body.get('seed', 0)} is what it was")[: body["max_tokens"]]
        choice = {"text": self.tokenizer.decode(written), "finish_reason": "length"}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return web.json_response({"choices": [choice], "usage": usage})

    async def converse(self, request):
        body = json.loads(await request.read())
        continued = bool(body.get("continue_final_message"))
        tokens = self.chat[len(body["messages"]), continued]
        if tokens is None:
            return web.json_response({"error": {"message": "no"}}, status=400)
        return web.json_response({"usage": {"prompt_tokens": tokens}})

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture
def run(folder):
    """What a command says of a server, and its exit status."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def runner(command, *arguments, end="", **can):
        async def main():
            site = web.AppRunner(Server(tokenizer, **can).app())
            await site.setup()
            await web.TCPSite(site, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{site.addresses[0][1]}{end}"
            asked = [command, url, "--tokenizer", folder, *arguments]
            try:
                return await asyncio.to_thread(CliRunner().invoke, build_app(), asked)
            finally:
                await site.cleanup()

        result = asyncio.run(main())
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return runner


@pytest.mark.parametrize("end", ["", "/v1", "/v1/"])
def test_an_address_may_end_in_the_api(run, end):
    result = run("doctor", end=end)
    assert result.exit_code == 0, result.output
    assert "model: m, dtype not told" in result.output


def test_a_server_that_lists_no_models_is_told_which_one_is_meant(run):
    given = ("--backend", "openai", "--max-length", "512")
    result = run("doctor", *given, lists=False)
    assert result.exit_code == 1
    assert "the server lists no models; give the name to ask for" in result.output
    result = run("doctor", *given, "--served-model-name", "m", lists=False)
    assert result.exit_code == 0, result.output
    assert "model: m, dtype not told" in result.output
    assert (
        run("warmup", *given, "--served-model-name", "m", "--batch", "1", lists=False).exit_code
        == 0
    )


@pytest.mark.parametrize("command", [("doctor",), ("warmup", "--batch", "1")])
def test_headers_from_the_environment_reach_a_server_that_asks_for_them(run, monkeypatch, command):
    monkeypatch.setenv("TEAM", json.dumps({"X-Key": "not-for-the-log"}))
    result = run(*command, key="not-for-the-log")
    assert result.exit_code == 1
    assert "asks for a key" in result.output
    assert "headers_env" in result.output
    result = run(*command, "--headers-env", "TEAM", key="not-for-the-log")
    assert result.exit_code == 0, result.output
    assert "not-for-the-log" not in result.output


@pytest.mark.parametrize("window", [140, 100])
def test_a_window_smaller_than_the_examination_is_no_failure(run, window):
    result = run("doctor", window=window)
    assert result.exit_code == 0, result.output
    assert f"context: {window} tokens" in result.output
    assert run("warmup", "--batch", "1", window=70).exit_code == 0


def lengths(folder):
    from atts_harness.engines.doctor.examine import PARTIAL, QUESTION
    from atts_harness.tokenizer import load_tokenizer
    from atts_harness.transcript import Message

    tokenizer = load_tokenizer(folder)
    question = Message("user", QUESTION)
    return (
        len(tokenizer.render([question])),
        len(tokenizer.render([question, Message("assistant", PARTIAL)])),
    )


@pytest.mark.parametrize(
    ("default", "asked", "said"),
    [
        (0, 0, "is continued by default, is continued with"),
        (5, 0, "restarts by default, is continued with"),
        (5, None, "restarts by default, is refused with"),
        (-2, 5, "is cut (2 tokens are missing) by default, restarts with"),
        (-1000, -1000, "is left out by default, is left out with"),
    ],
)
@pytest.mark.parametrize("more", [0, 3])
def test_a_partial_turn_restarts_only_where_it_does(run, folder, default, asked, said, more):
    """`more`: tokens that the server's template has and the local one has not."""
    prompt, whole = lengths(folder)
    told = {
        (1, False): prompt + more,
        (2, False): whole + more + default,
        (2, True): None if asked is None else whole + more + asked,
    }
    result = run("doctor", chat=told)
    assert f"a partial assistant message {said} continue_final_message" in result.output
    advised = "other clients must send continue_final_message" in result.output
    assert advised == (default != 0 and asked == 0)
