"""Extraction and judging by a model, against an endpoint on this machine."""

import json

import pytest

from atts_harness.errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    CutReplyError,
    MalformedReplyError,
    SettingError,
)
from atts_harness.judging.llm import (
    MOST_REPLY_TOKENS,
    TAIL,
    ChatReply,
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
    reply = ask(client(server), "judge-1", extract_request("so it is 5"))
    assert extract_answer(reply.text, cut=reply.cut) == "5"
    assert reply == ChatReply("ANSWER: 5", False, 11, 3)
    path, authorization, request = server.seen[0]
    assert path == "/v1/chat/completions"
    assert authorization == "Bearer key"
    assert request["model"] == "judge-1"
    assert request["temperature"] == 0.0
    assert request["max_completion_tokens"] == MOST_REPLY_TOKENS
    assert "max_tokens" not in request  # reasoning models refuse it
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
    assert extract_answer("I see.\nANSWER: 3/4 ", cut=False) == "3/4"
    assert extract_answer("ANSWER: NONE", cut=False) is None
    assert extract_answer("ANSWER: (B)", "choice", cut=False) == "B"
    assert judge_verdict("SAME.", cut=False) is True
    assert judge_verdict("different", cut=False) is False


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        ("it is 5", "maths", "no 'ANSWER:'"),
        ("ANSWER:", "maths", "nothing stands behind"),
        ("ANSWER:\n5", "maths", "nothing stands behind"),
        ("ANSWER: 42", "choice", "none of A, B, C, D: '42'"),
        ("<think>perhaps ANSWER: 7", "maths", "within its thinking"),
        ("[THINK]perhaps ANSWER: 7", "maths", "within its thinking"),
    ],
)
def test_a_reply_in_another_form_is_an_error_and_no_answer(reply, kind, why):
    with pytest.raises(MalformedReplyError, match=why):
        extract_answer(reply, kind, cut=False)


def test_a_judges_reply_in_another_form_is_an_error():
    with pytest.raises(MalformedReplyError):
        judge_verdict("The same, roughly", cut=False)


@pytest.mark.parametrize(
    "reply",
    [
        "<think>is it ANSWER: 7? no</think>\nANSWER: 5",
        "is it ANSWER: 7? no</think>ANSWER: 5",  # the template wrote the opening mark
        "<think>a</think><think>b ANSWER: 7</think>ANSWER: 5",
        "[THINK]ANSWER: 7[/THINK]ANSWER: 5",
        "◁think▷ANSWER: 7◁/think▷ANSWER: 5",
        "<|channel|>analysis<|message|>ANSWER: 7<|channel|>final<|message|>ANSWER: 5",
        "**ANSWER:** 5",
        "**ANSWER: 5**",
    ],
)
def test_thinking_and_emphasis_are_no_part_of_the_answer(reply):
    assert extract_answer(reply, cut=False) == "5"


def test_thinking_is_no_part_of_a_verdict():
    assert judge_verdict("<think>DIFFERENT?</think>\nSAME", cut=False) is True
    with pytest.raises(MalformedReplyError):
        judge_verdict("<think>SAME", cut=False)


def test_a_reply_that_was_cut_is_never_read():
    """A thought that was cut after "ANSWER: 7, or" is not an answer."""
    with pytest.raises(CutReplyError, match="4096 tokens"):
        extract_answer("ANSWER: 7", cut=True)
    with pytest.raises(CutReplyError):
        judge_verdict("SAME", cut=True)
    assert not CutReplyError.retryable  # the same request is cut again


@pytest.mark.parametrize("finish", ["length", "max_tokens"])
def test_the_endpoint_says_that_a_reply_was_cut(server, finish):
    server.replies = [(200, "<think>hm ANSWER: 7", finish)]
    assert ask(client(server), "judge-1", "x").cut
    server.replies = [(200, "", finish)]  # all of it went into thinking that the server hides
    assert ask(client(server), "judge-1", "x") == ChatReply("", True, 11, 3)


def test_a_server_that_gives_no_reason_is_judged_by_its_count(server):
    usage = {"prompt_tokens": 5, "completion_tokens": MOST_REPLY_TOKENS}
    body = {"choices": [{"message": {"content": "ANSWER: 7"}}], "usage": usage}
    server.replies = [(200, json.dumps(body).encode())]
    assert ask(client(server), "judge-1", "x").cut


@pytest.mark.parametrize("finish", ["content_filter", "tool_calls", "abort"])
def test_a_reply_that_ended_otherwise_is_refused(server, finish):
    server.replies = [(200, "ANSWER: 7", finish)]
    with pytest.raises(BadRequestError, match=finish):
        ask(client(server), "judge-1", "x")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>sign in</html>",
        b'{"choices": [{"message": {"content": ',
        b"[]",
        b"null",
        b'{"choices": 5}',
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": ["ANSWER: 5"]}}]}',
        b'{"choices": [{"message": {"content": "ANSWER: 5"}}], "usage": {"prompt_tokens": -1}}',
        b'{"choices": [{"message": {"content": "ANSWER: 5"}}], "usage": {"prompt_tokens": 1e99}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_whatever_else_comes_with_status_200_is_an_error_of_ours(server, body):
    server.replies = [(200, body)]
    with pytest.raises(MalformedReplyError, match="no chat completion"):
        ask(client(server), "judge-1", "x")


def test_a_page_as_an_error_is_one_short_line(server):
    server.replies = [(400, b"<html>\n" + b"<p>no</p>\n" * 1000)]
    with pytest.raises(BadRequestError) as refused:
        ask(client(server), "judge-1", "x")
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


def test_only_the_end_of_a_text_is_sent():
    request = extract_request("START" + "x" * 100_000 + "END")
    assert "START" not in request
    assert "END" in request
    assert len(request) < TAIL + 1000
    assert "A, B, C, D" in extract_request("x", "choice")
    assert "1/2" in judge_request("1/2", "0.5")
