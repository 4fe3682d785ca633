"""Extraction and judging by a model, against an endpoint on this machine."""

import pytest

from atts_harness.errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    MalformedReplyError,
    SettingError,
)
from atts_harness.judging.llm import (
    TAIL,
    Endpoint,
    ask,
    endpoint,
    extract_answer,
    extract_request,
    judge_request,
    judge_verdict,
)

pytest.importorskip("openai")


@pytest.fixture
def server(chat_server):
    return chat_server


def client(server, **kwargs):
    return Endpoint("judge-1", server.url, "key").client(retries=0, **kwargs)


def test_a_call_gives_text_and_usage(server):
    text, usage = ask(client(server), "judge-1", extract_request("so it is 5"))
    assert extract_answer(text) == "5"
    assert usage == {"prompt_tokens": 11, "completion_tokens": 3}
    path, authorization, request = server.seen[0]
    assert path == "/v1/chat/completions"
    assert authorization == "Bearer key"
    assert request["model"] == "judge-1"
    assert request["temperature"] == 0.0
    assert "so it is 5" in request["messages"][0]["content"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, BadRequestError), (404, BadRequestError), (429, BackendUnavailableError),
     (500, BackendUnavailableError)],
)  # fmt: skip
def test_a_refusal_is_typed(server, status, error):
    server.replies = [(status, "no")]
    with pytest.raises(error):
        ask(client(server), "judge-1", "x")


def test_an_empty_reply_is_no_answer(server):
    server.replies = [(200, "")]
    with pytest.raises(MalformedReplyError, match="without text"):
        ask(client(server), "judge-1", "x")


def test_silence_is_a_timeout(server):
    server.hang = True
    with pytest.raises(BackendTimeoutError, match="no reply in time"):
        ask(client(server, timeout=0.5), "judge-1", "x")


def test_nobody_there():
    gone = Endpoint("judge-1", "http://127.0.0.1:9/v1", "key").client(retries=0)
    with pytest.raises(BackendUnavailableError):
        ask(gone, "judge-1", "x")


def test_the_endpoint_comes_from_the_environment_and_hides_its_key():
    found = endpoint(
        {"OPENAI_API_KEY": "secret", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://h/v1"}
    )
    assert (found.model, found.base_url) == ("m", "http://h/v1")
    assert "secret" not in repr(found)
    with pytest.raises(SettingError, match="OPENAI_API_KEY is not set"):
        endpoint({"OPENAI_MODEL": "m"})
    with pytest.raises(SettingError, match="OPENAI_MODEL is not set"):
        endpoint({"OPENAI_API_KEY": "secret"})


def test_replies_are_read_strictly():
    assert extract_answer("I see.\nANSWER: 3/4 ") == "3/4"
    assert extract_answer("ANSWER: NONE") is None
    assert extract_answer("ANSWER:") is None
    assert extract_answer("ANSWER: (B)", "choice") == "B"
    with pytest.raises(MalformedReplyError, match="no 'ANSWER:'"):
        extract_answer("it is 5")
    assert judge_verdict("SAME.") is True
    assert judge_verdict("different") is False
    with pytest.raises(MalformedReplyError):
        judge_verdict("The same, roughly")


def test_only_the_end_of_a_text_is_sent():
    request = extract_request("START" + "x" * 100_000 + "END")
    assert "START" not in request
    assert "END" in request
    assert len(request) < TAIL + 1000
    assert "A, B, C, D" in extract_request("x", "choice")
    assert "1/2" in judge_request("1/2", "0.5")
