"""Traffic with a server: typed errors for everything that can come back."""

import asyncio
import base64
import html
import json
import urllib.parse

import msgspec
import pytest
from aiohttp import web

from atts_harness.engines.http import EngineHttp, error_message
from atts_harness.errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    ContextLengthError,
    MalformedReplyError,
    RefusedError,
)


class Answer(msgspec.Struct):
    value: int


def ask(handler, *, repeat=1, **given):
    """What `EngineHttp.post` returns or raises for a server that answers with `handler`."""

    async def run():
        app = web.Application()
        app.router.add_post("/x", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        http = EngineHttp(f"http://127.0.0.1:{port}/", name="target_url", **given)
        try:
            return [await http.post("/x", {"a": 1}, Answer) for _ in range(repeat)][-1]
        finally:
            await http.aclose()
            await runner.cleanup()

    return asyncio.run(run())


def replies(status, body, **headers):
    async def handler(request):
        return web.Response(status=status, body=body, headers=headers)

    return handler


def test_a_good_reply_is_decoded_and_what_the_schema_does_not_name_is_skipped():
    assert ask(replies(200, b'{"value": 3, "more": [1, {"deep": null}]}')).value == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "m", "type": "T", "code": 400}}', "m"),
        (b'{"error": "m"}', "m"),
        (b'{"object": "error", "message": "m", "code": 400}', "m"),
        (b'{"detail": "m"}', "m"),
        (b'{"detail": [{"loc": ["body"], "msg": "m"}, {"msg": "n"}]}', "m; n"),
        (b'{"error": {"message": ""}, "message": "m"}', "m"),
        (b"plain\n  text", "plain text"),
        (b"<html><body><h1>Bad Gateway</h1></body></html>", "Bad Gateway"),
        (b"", "(no message)"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"code": 7}', '{"code": 7}'),
    ],
)
def test_every_shape_of_an_error_body_becomes_one_line(body, message):
    assert error_message(body) == message
    with pytest.raises(BadRequestError) as caught:
        ask(replies(400, body))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("target_url: ")


def test_a_long_message_is_cut():
    assert len(error_message(b"x" * 10_000)) == 300


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
def test_a_refusal_is_not_tried_again(status):
    with pytest.raises(BadRequestError) as caught:
        ask(replies(status, b'{"error": "no"}'))
    assert not caught.value.retryable


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_key_names_the_setting(status):
    with pytest.raises(BadRequestError, match="headers_env"):
        ask(replies(status, b'{"error": "who are you"}'))


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_a_busy_or_broken_server_is_tried_again(status):
    with pytest.raises(BackendUnavailableError) as caught:
        ask(replies(status, b"later"))
    assert caught.value.retryable
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_the_server_says_when_to_come_back(header, seconds):
    with pytest.raises(BackendUnavailableError) as caught:
        ask(replies(429, b"", **{"Retry-After": header}))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8192 tokens. However, your prompt contains 10000",
        "The input (20000 tokens) is longer than the model's context length (16384 tokens).",
        "Requested token count exceeds the model's maximum context length of 16384 tokens.",
        "the request exceeds the available context size",
        "Input length (5000 tokens) exceeds the maximum allowed length (4000 tokens).",
    ],
)
def test_the_words_of_a_refusal_decide_nothing(said):
    with pytest.raises(RefusedError) as caught:
        ask(replies(400, msgspec.json.encode({"error": {"message": said}})))
    assert caught.value.status == 400


@pytest.mark.parametrize("field", [{"code": "context_length_exceeded"}, {"param": "input_tokens"}])
def test_a_refusal_for_length_says_so_in_a_field_of_its_own(field):
    with pytest.raises(ContextLengthError):
        ask(replies(400, msgspec.json.encode({"error": {"message": "m", **field}})))


@pytest.mark.parametrize("depth", [5, 900, 100_000])
def test_an_error_body_may_be_as_deep_as_it_likes(depth):
    assert error_message(b'{"error":' * depth + b'"m"' + b"}" * depth)


def test_a_page_of_brackets_takes_no_time():
    assert error_message(b"<" * 1_000_000)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_names_the_setting(status):
    with pytest.raises(RefusedError, match=r"http://elsewhere/x.*final address as target_url"):
        ask(replies(status, b"", Location="http://elsewhere/x"))


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_reply_has_a_size_limit(size):
    body = b'{"value": 3, "x": "' + b"y" * (size - 21) + b'"}'
    assert len(body) == size
    if size == 1 << 20:
        assert ask(replies(200, body), longest=1 << 20).value == 3
    else:
        with pytest.raises(MalformedReplyError, match="over 1048576 bytes"):
            ask(replies(200, body), longest=1 << 20)


def test_a_page_with_status_200_says_what_it_said():
    with pytest.raises(MalformedReplyError, match="the server said: Down for repair"):
        ask(replies(200, b"<html>Down for <b>repair</b></html>"))


@pytest.mark.parametrize(
    "echo",
    [
        lambda key: key,
        lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
        lambda key: urllib.parse.quote(key),
        lambda key: json.dumps(key),
        lambda key: html.escape(key),
        lambda key: key.encode().hex(),
        lambda key: f"{'x' * 265} {key}",  # a message is cut, and must not leave half a key
    ],
)
def test_what_was_sent_as_a_header_is_hidden_in_whatever_encoding(echo):
    key = "k3y/with+odd&chars=<1>"
    said = echo(key)
    body = msgspec.json.encode({"error": {"message": f"bad headers: {said} end"}})
    with pytest.raises(RefusedError) as caught:
        ask(replies(400, body), headers={"X-Api-Key": key})
    assert said not in str(caught.value)
    assert key[:12] not in str(caught.value)
    assert "[hid" in str(caught.value)


@pytest.mark.parametrize("body", [b'{"value": 3', b'{"value": "3"}', b'{"value": NaN}', b"", b"[]"])
def test_a_reply_that_cannot_be_trusted_is_tried_again(body):
    with pytest.raises(MalformedReplyError) as caught:
        ask(replies(200, body))
    assert caught.value.retryable


def test_a_reply_that_breaks_off():
    async def handler(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"value": ')
        request.transport.close()
        return response

    with pytest.raises(MalformedReplyError, match="breaks off"):
        ask(handler)


def test_a_connection_that_is_dropped_without_a_reply():
    async def handler(request):
        request.transport.abort()
        return web.Response()

    with pytest.raises(BackendUnavailableError):
        ask(handler)


def test_a_server_that_does_not_answer_in_time():
    async def handler(request):
        await asyncio.sleep(30)
        return web.Response()

    with pytest.raises(BackendTimeoutError):
        ask(handler, timeout=0.05)


def test_nobody_listens():
    async def run():
        http = EngineHttp("http://127.0.0.1:1", name="draft_url")
        try:
            await http.get("/x", Answer)
        finally:
            await http.aclose()

    with pytest.raises(
        BackendUnavailableError, match=r"^draft_url: GET http://127.0.0.1:1/x"
    ) as caught:
        asyncio.run(run())
    assert caught.value.absent


def test_who_breaks_off_or_answers_is_there():
    async def breaks_off(request):
        request.transport.abort()
        return web.Response()

    for handler in (breaks_off, replies(503, b"later")):
        with pytest.raises(BackendUnavailableError) as caught:
            ask(handler)
        assert not caught.value.absent


def test_an_address_that_is_none():
    async def run():
        http = EngineHttp("http://[", name="draft_url")
        try:
            await http.get("/x", Answer)
        finally:
            await http.aclose()

    with pytest.raises(BadRequestError, match="draft_url"):
        asyncio.run(run())


def test_a_request_behind_the_end_of_its_connections_is_an_error_of_ours():
    """As the abort of a request that is still on its way when opening has failed."""

    async def run():
        http = EngineHttp("http://127.0.0.1:9", name="target_url")
        await http.aclose()
        await http.exchange("GET", "/x")

    with pytest.raises(BackendUnavailableError, match=r"^target_url: GET http://.*:9/x: "):
        asyncio.run(run())


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_reply_is_read_whole_in_however_many_pieces_it_comes(pieces):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        body = b'{"value":' + b" " * 20 + b"7}"
        size = -(-len(body) // pieces)
        for at in range(0, len(body), size):
            await response.write(body[at : at + size])
            await asyncio.sleep(0.01)
        return response

    assert ask(handler) == Answer(7)
