"""Replies of models, kept in a file: each paid for once, none taken for another's."""

import pytest

from atts_harness.errors import CutReplyError
from atts_harness.judging.calls import JudgeCalls
from atts_harness.judging.llm import ChatReply, extract_answer


def answer(reply):
    return extract_answer(reply.text, cut=reply.cut)


def replies(text, asked=None):
    def ask(request):
        if asked is not None:
            asked.append(request)
        return ChatReply(text, False, 10, 2)

    return ask


def test_another_models_reply_is_not_used(tmp_path):
    file = tmp_path / "calls.jsonl"
    assert JudgeCalls(replies("ANSWER: 5"), file, "one").read("x", answer) == "5"
    assert JudgeCalls(replies("ANSWER: 6"), file, "two").read("x", answer) == "6"
    never = []
    assert JudgeCalls(replies("ANSWER: 7", never), file, "one").read("x", answer) == "5"
    assert never == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"ANSWER: 5", b"ANSWER: 6"),
        lambda data: data[:9] + b"\xff" + data[9:],
        lambda data: b"[]\n",
        lambda data: b"[" * 10_000,
        lambda data: b'{"request": "x", "reply": "ANSWER: 6", "usage": {}}\n',  # early release
    ],
)
def test_a_damaged_line_is_told_and_asked_again(tmp_path, damage, caplog):
    file = tmp_path / "calls.jsonl"
    JudgeCalls(replies("ANSWER: 5"), file).read("x", answer)
    file.write_bytes(damage(file.read_bytes()))
    for made in (1, 0):
        calls = JudgeCalls(replies("ANSWER: 5"), file)
        assert calls.read("x", answer) == "5"
        assert calls.call_count == made
    assert "1 lines are damaged or of an earlier release" in caplog.text


def test_the_sums_say_why(tmp_path):
    calls = JudgeCalls(lambda request: ChatReply("", True, 10, 4096), None, "m")
    with pytest.raises(CutReplyError):
        calls.read("x", answer)
    assert calls.words() == (
        "1 calls made, 4106 tokens, 1 failed (CutReplyError 1; such as: the reply was cut at its "
        "limit of 4096 tokens, thinking included)"
    )
