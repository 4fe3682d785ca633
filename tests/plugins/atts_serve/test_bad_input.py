"""What cannot be answered: the right status, OpenAI's error object, nothing of the inside."""

import json
import socket
import urllib.error
import urllib.request

import pytest
from atts_serve.guard import Door

openai = pytest.importorskip("openai")

USER = {"role": "user", "content": "How far?"}
ASKED = {"model": "mock-turns", "messages": [USER]}
KEY = "a-key-of-some-length"


def post(server, body, path="/v1/chat/completions", **headers):
    """Status, headers and error of a reply."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    url = f"http://127.0.0.1:{server.port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, sent), timeout=20) as reply:
            return reply.status, reply.headers, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())
        assert set(told) == {"error"}
        assert set(told["error"]) == {"message", "type", "param", "code"}
        return error.code, error.headers, told["error"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"{", None, "not JSON"),
        (b"\xff\xfe", None, "not JSON"),
        (b"[]", None, "must be a JSON object"),
        (b"[" * 100_000, None, "nested too deep"),
        ({"model": "mock-turns"}, "messages", "at least one"),
        ({**ASKED, "messages": []}, "messages", "at least one"),
        ({**ASKED, "messages": "Hello"}, "messages", "array"),
        ({**ASKED, "messages": [{"role": "user"}]}, "messages", "a text is needed"),
        ({**ASKED, "messages": [{"role": "tool", "content": "x"}]}, "messages", "not supported"),
        (
            {
                **ASKED,
                "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            },
            "messages",
            "only parts of type text",
        ),
        (
            {**ASKED, "messages": [{"role": "user", "content": " "}]},
            "messages",
            "all of them are empty",
        ),
        ({"messages": [USER]}, "model", "/v1/models lists them"),
        ({**ASKED, "model": 3}, "model", "/v1/models lists them"),
        ({**ASKED, "tools": [{"type": "function"}]}, "tools", "not supported"),
        ({**ASKED, "functions": [{}]}, "functions", "not supported"),
        ({**ASKED, "logprobs": True}, "logprobs", "not supported"),
        ({**ASKED, "logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({**ASKED, "presence_penalty": 0.5}, "presence_penalty", "not supported"),
        ({**ASKED, "response_format": {"type": "json_object"}}, "response_format", "text"),
        ({**ASKED, "stream_options": {"include_usage": True}}, "stream_options", "stream=true"),
        ({**ASKED, "n": 0}, "n", ">= 1"),
        ({**ASKED, "n": 1000}, "n", "<= 128"),
        ({**ASKED, "n": 128}, "n", "at most 64 samples"),
        ({**ASKED, "temperature": -1}, "temperature", ">= 0"),
        ({**ASKED, "top_p": 0}, "top_p", "> 0"),
        ({**ASKED, "max_tokens": 0}, "max_tokens", ">= 1"),
        ({**ASKED, "max_tokens": 1 << 40}, "messages", "context"),
        ({**ASKED, "seed": "x"}, "seed", "int"),
        ({**ASKED, "stop": ["a"] * 17}, "stop", "at most 16"),
        ({**ASKED, "atts": {"bank": "/etc/passwd"}}, "atts", "not among the values"),
        ({**ASKED, "atts": {"draft_url": "http://evil.example"}}, "atts", "not among the values"),
        ({**ASKED, "atts": {"run_dir": "/tmp/x"}}, "atts", "not among the values"),
        ({**ASKED, "atts": {"rate": 7}}, "atts", "rate: expected"),
        ({**ASKED, "atts": {"rate": [1]}}, "atts", "a single value"),
        ({**ASKED, "atts": {"threshold": 5}}, "atts", "no such option"),
        ({**ASKED, "atts": {"task": "t"}}, "atts", "belong together"),
        ({**ASKED, "atts": {"task": "t", "doc": -1}}, "atts.doc", ">= 0"),
        ({**ASKED, "atts": {"task": "t\n", "doc": 1}}, "atts", "printable"),
        ({**ASKED, "atts": {"events": "yes"}}, "atts.events", "bool"),
        ({**ASKED, "atts": 3}, "atts", "object"),
    ],
)
def test_a_body_that_asks_for_what_is_not_there(shared, body, param, words):
    status, _, error = post(shared, body)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"]
    assert "\n" not in error["message"]


def test_the_sdk_raises_its_own_errors(shared):
    client = shared.client().chat.completions
    with pytest.raises(openai.NotFoundError) as missing:
        client.create(**{**ASKED, "model": "gpt-4o"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.create(model="mock-turns", messages=[{"role": "user", "content": "x" * 300_000}])
    assert long.value.code == "context_length_exceeded"


def test_what_is_not_there_is_no_page(shared):
    assert post(shared, {}, "/v1/completions")[0] == 404
    assert post(shared, {}, "/v1/models")[0] == 405
    status, _, error = post(shared, {}, "/../../etc/passwd")
    assert (status, error["message"]) == (404, "there is nothing here")


def test_a_web_page_cannot_reach_it(shared):
    status, _, error = post(shared, ASKED, Host="evil.example")
    assert (status, error["code"]) == (403, "foreign_host")
    status, _, error = post(shared, ASKED, Host=f"127.0.0.1.evil.example:{shared.port}")
    assert (status, error["code"]) == (403, "foreign_host")
    status, _, error = post(shared, ASKED, Origin="http://evil.example")
    assert (status, error["code"]) == (403, "foreign_page")
    status, _, error = post(shared, ASKED, **{"Content-Type": "text/plain"})
    assert (status, error["code"]) == (415, "unsupported_media_type")
    status, _, _ = post(shared, ASKED, Host=f"localhost:{shared.port}")
    assert status == 200
    status, headers, _ = post(shared, ASKED, Origin=f"http://127.0.0.1:{shared.port}")
    assert status == 200
    assert not [name for name in headers if name.lower().startswith("access-control")]


def raw(server, head, body=b"", wait=10):
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(head.encode() + body)
        found = b""
        while chunk := connection.recv(1 << 16):
            found += chunk
        return found.decode()


HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)


def test_a_body_of_100_mb_is_refused_unread(shared):
    reply = raw(shared, HEAD.format(length=100 << 20))
    assert reply.startswith("HTTP/1.1 413")
    assert json.loads(reply.partition("\r\n\r\n")[2])["error"]["code"] == "body_too_large"


def test_a_body_that_does_not_say_its_length_is_cut_off(shared):
    head = HEAD.replace("Content-Length: {length}", "Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    assert raw(shared, head, chunk * 5).startswith("HTTP/1.1 413")


def test_a_slow_body_is_given_up(serving):
    with serving(door=Door(body_seconds=0.1)) as server:
        reply = raw(server, HEAD.format(length=50), b'{"model":')
    assert reply.startswith("HTTP/1.1 408")
    assert json.loads(reply.partition("\r\n\r\n")[2])["error"]["code"] == "body_too_slow"


def test_what_is_no_http_is_refused_without_a_word(shared, caplog, capfd):
    assert raw(shared, "nonsense\r\n\r\n").startswith("HTTP/1.0 400")
    assert "Traceback" not in capfd.readouterr().err
    assert not caplog.records


def test_a_wrong_key_opens_nothing(serving):
    with serving(door=Door(keys=(KEY, "another-key-entirely"))) as server:
        for key in ("none", KEY[:-1], KEY + "x", ""):
            status, _, error = post(server, ASKED, Authorization=f"Bearer {key}")
            assert (status, error["code"]) == (401, "invalid_api_key")
            assert KEY not in json.dumps(error)
        assert post(server, b"{", Authorization="")[0] == 401  # before the body is read
        assert post(server, ASKED, Authorization=f"Basic {KEY}")[0] == 401
        assert server.client(api_key=KEY).models.list().data
        assert server.client(api_key="another-key-entirely").models.list().data
        with pytest.raises(openai.AuthenticationError):
            server.client(api_key="wrong").models.list()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health") as reply:
            assert reply.status == 200


def test_a_fault_inside_says_nothing_of_itself(serving, caplog):
    with serving() as server:
        backend = server.do(lambda s: next(iter(s.house._backends.values())))

        async def broken(request):
            raise ZeroDivisionError("the secret of the house")

        backend.generate = broken
        status, _, error = post(server, ASKED)
        assert (status, error["code"]) == (500, "internal")
        assert "secret" not in json.dumps(error)
        with pytest.raises(openai.APIError, match="the server failed") as told:
            list(server.client().chat.completions.create(**ASKED, stream=True))
        assert "secret" not in str(told.value)
        del backend.generate
        assert post(server, ASKED)[0] == 200
    assert "the secret of the house" in caplog.text
