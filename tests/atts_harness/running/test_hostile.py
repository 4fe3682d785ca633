"""Whatever a server sends, a run goes on, and nothing false becomes a number."""

import asyncio

import pytest

from atts_harness.testing import mock_hostile
from atts_harness.testing.mock_faults import HOSTILE, FaultPlan

from .hostile import only, run_against

BOTH = pytest.mark.parametrize("dialect", ["sglang", "vllm"])
IN_GENERATIONS = (
    "ids-beyond",
    "ids-negative",
    "ids-2^32",
    "ids-2^80",
    "ids-too-many",
    "other-id",
    "other-prompt",
    "cached-too-many",
    "usage-2^80",
    "usage-negative",
    "stop-unasked",
    "finish-unknown",
    "finish-null",
    "html",
    "error-with-200",
    "deep",
    "bad-utf8",
)
IN_SCORES = (
    "logprob-above-zero",
    "logprob-missing",
    "other-id",
    "other-prompt",
    "cached-too-many",
    "usage-2^80",
    "html",
    "deep",
)
REFUSALS = ("400", "400-queue", "400-deep", "401", "404", "redirect", "echo")


def test_every_hostile_reply_is_tried():
    tried = {*IN_GENERATIONS, *IN_SCORES, *REFUSALS, "huge", "inflated", "logprob-zero-probability"}
    assert tried == set(HOSTILE)


@BOTH
@pytest.mark.parametrize("fault", IN_GENERATIONS)
def test_a_generation_that_cannot_be_fails_its_sample(monkeypatch, tmp_path, dialect, fault):
    records, calls, control = run_against(
        monkeypatch, dialect, only(fault, sort="generate"), tmp_path
    )
    assert {(r.failed or "").partition(":")[0] for r in records} == {"MalformedReplyError"}
    assert all(call.reply is None for call in calls)
    assert control.engines[0].outages == []  # it is there, and talks nonsense


@BOTH
@pytest.mark.parametrize("fault", IN_SCORES)
def test_a_score_that_cannot_be_is_no_score(monkeypatch, tmp_path, dialect, fault):
    records, calls, _ = run_against(monkeypatch, dialect, only(fault, sort="score"), tmp_path)
    assert {r.failed for r in records} == {None}
    scores = [call for call in calls if call.key.kind == "score"]
    assert scores
    assert all(call.error.startswith("MalformedReplyError: ") for call in scores)


@BOTH
def test_a_probability_of_zero_is_a_score(monkeypatch, tmp_path, dialect):
    _, calls, _ = run_against(
        monkeypatch, dialect, only("logprob-zero-probability", sort="score"), tmp_path
    )
    scores = [call.reply for call in calls if call.key.kind == "score"]
    assert scores
    assert all(score.logprobs[-1] == float("-inf") for score in scores)


@BOTH
@pytest.mark.parametrize(
    ("fault", "words"),
    [("html", "502 Bad Gateway nginx"), ("error-with-200", "the model is being exchanged")],
)
def test_what_a_server_says_instead_is_kept(monkeypatch, tmp_path, dialect, fault, words):
    records, _, _ = run_against(monkeypatch, dialect, only(fault), tmp_path)
    assert all(words in record.failed for record in records)


@BOTH
@pytest.mark.parametrize("fault", ["huge", "inflated"])
def test_a_reply_without_end_is_not_read_to_its_end(monkeypatch, tmp_path, dialect, fault):
    monkeypatch.setattr(mock_hostile, "HUGE_BYTES", 3 << 20)
    records, _, _ = run_against(monkeypatch, dialect, only(fault), tmp_path, longest=1 << 20)
    assert all("a reply of over 1048576 bytes" in record.failed for record in records)


@BOTH
@pytest.mark.parametrize("fault", ["400", "redirect"])
def test_a_request_that_is_always_refused_fails_its_sample_and_others_go_on(
    monkeypatch, tmp_path, dialect, fault
):
    seen = []
    plan = FaultPlan({fault: 1.0})

    def first_sample(key, tried):
        seen.append(key.rpartition(":")[0])
        return fault if key.startswith("generate") and key.rpartition(":")[0] == seen[0] else None

    object.__setattr__(plan, "draw", first_sample)
    records, _, control = run_against(monkeypatch, dialect, plan, tmp_path)
    failed = [record.failed for record in records if record.failed]
    assert 0 < len(failed) < len(records)
    assert all(words.startswith("RefusedError: ") for words in failed)
    assert control.engines[0].outages == []


@BOTH
@pytest.mark.parametrize("fault", ["400-queue", "400-deep", "401", "404"])
def test_refusals_of_calls_that_worked_a_second_ago_are_an_outage(
    monkeypatch, tmp_path, dialect, fault
):
    async def heal(engine, control):
        for _ in range(2000):
            if control.engines and control.engines[0].outages:
                break
            await asyncio.sleep(0.01)
        engine.faults = FaultPlan()

    records, calls, control = run_against(
        monkeypatch, dialect, only(fault), tmp_path, meanwhile=heal
    )
    assert {record.failed for record in records} == {None}
    assert {record.finish for record in records} == {"turns"}
    assert len(control.engines[0].outages) == 1
    assert all(call.reply is not None for call in calls)


@BOTH
def test_a_key_that_is_echoed_is_nowhere(monkeypatch, tmp_path, dialect, caplog):
    monkeypatch.setenv("SOME_KEY", "very-secret-value/1+2")
    monkeypatch.setenv("SOME_HEADERS", '{"X-Team": "the-hidden-team"}')
    records, _, _ = run_against(
        monkeypatch,
        dialect,
        only("echo", most=2),
        tmp_path,
        options={"api_key_env": "SOME_KEY", "headers_env": "SOME_HEADERS"},
    )
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"bad gateway; the request was" in written
    for secret in ("very-secret-value", "the-hidden-team"):
        assert secret.encode() not in written
        assert all(secret not in (record.failed or "") for record in records)
        assert secret not in caplog.text
