"""The `llm` extractor in a live run: one recorded call a sample, made once, counted if it fails."""

import dataclasses
import sqlite3

import pytest

from atts_harness import plugins
from atts_harness.errors import JournalMismatchError, SettingError, UnknownSettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import Sampled, grade_question, question_metrics
from atts_harness.journal.reader import open_run
from atts_harness.ledger.recorded import ledger_of
from atts_harness.records import NOT_EXTRACTED
from atts_harness.running import extraction
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

pytestmark = pytest.mark.usefixtures("mock_installed")

SAMPLES = 4
CALLS = "extractor/judge"


def groups(kind="maths", **options):
    made = make_groups(2, 2, MockTurns(MockOptions(turns=2, draft_tokens=8, **options)))
    return [
        dataclasses.replace(group, problem=dataclasses.replace(group.problem, kind=kind))
        for group in made
    ]


def produce(asked=None, **settings):
    given = {"strategy": "mock-turns", "backend": "mock", "draft": "d", "target": "t"}
    made = Harness(parse_settings({"progress": "off", "retries": 0, **given, **settings}))
    with made:
        return made.run(asked or groups()), made.summary


def test_every_sample_is_asked_for_once_with_its_own_text(chat_endpoint):
    records, summary = produce(extractor="llm")
    assert [record.answers for record in records] == [{"llm": "5"}] * SAMPLES
    assert len(chat_endpoint.seen) == SAMPLES
    shown = "".join(chat_endpoint.messages())
    assert all(record.text[-20:] in shown for record in records)
    assert summary.state == "finished"


def test_its_cost_is_in_the_ledger_under_its_kind_and_nowhere_else(chat_endpoint, tmp_path):
    records, summary = produce(extractor="llm", extractor_price="1/10", run_dir=str(tmp_path))
    account = summary.ledger["calls"][CALLS]
    assert account["calls"] == SAMPLES
    assert (account["prompt_tokens"], account["completion_tokens"]) == (11 * SAMPLES, 3 * SAMPLES)
    assert summary.ledger["cost"] == {"extractor": pytest.approx(SAMPLES * (11 + 30) / 1e6)}
    assert all(CALLS not in record.calls for record in records)
    assert set(summary.ledger["slots"]) == {"draft", "score", "takeover"}
    with open_run(tmp_path) as run:
        again = ledger_of(run).summary()
    assert again["calls"][CALLS] == account
    assert again["intensity"] == summary.ledger["intensity"]


def test_choices_are_asked_for_as_choices(chat_endpoint):
    chat_endpoint.replies = [(200, "ANSWER: (B)")]
    records, _ = produce(groups("choice"), extractor="llm")
    assert {record.answers["llm"] for record in records} == {"B"}
    assert "A, B, C, D" in chat_endpoint.messages()[0]


def test_nobody_is_asked_without_it_or_where_there_is_no_answer(chat_endpoint):
    produce(extractor="boxed")
    produce(groups(None), extractor="llm")
    assert not chat_endpoint.seen


def test_a_failed_sample_is_not_asked_for(chat_endpoint, monkeypatch):
    async def fails(self, sample, ctx):
        from atts_harness.errors import SampleFailedError

        raise SampleFailedError("no")

    monkeypatch.setattr(MockTurns, "run", fails)
    records, _ = produce(extractor="llm")
    assert not chat_endpoint.seen
    assert all(record.answers == {} and NOT_EXTRACTED not in record.notes for record in records)


def test_a_resumed_run_does_not_ask_again(chat_endpoint, tmp_path):
    first, _ = produce(extractor="llm", run_dir=str(tmp_path))
    again, summary = produce(extractor="llm", run_dir=str(tmp_path))
    assert len(chat_endpoint.seen) == SAMPLES
    assert [r.answers for r in again] == [r.answers for r in first]
    assert summary.ledger["calls"][CALLS]["calls"] == SAMPLES


def test_a_run_that_died_between_reply_and_sample_does_not_ask_again(chat_endpoint, tmp_path):
    produce(extractor="llm", run_dir=str(tmp_path))
    with sqlite3.connect(tmp_path / "journal.sqlite3") as journal:
        journal.execute("DELETE FROM samples")
    journal.close()
    chat_endpoint.replies = [(200, "ANSWER: another")]
    again, _ = produce(extractor="llm", run_dir=str(tmp_path))
    assert [record.answers for record in again] == [{"llm": "5"}] * SAMPLES
    assert len(chat_endpoint.seen) == SAMPLES


@pytest.mark.parametrize("share", [False, True])
def test_it_can_be_added_to_a_finished_run(chat_endpoint, tmp_path, share):
    asked = groups(share=share)
    first, _ = produce(asked, run_dir=str(tmp_path))
    assert all(record.answers == {} for record in first)
    produce(asked, extractor="boxed+llm", run_dir=str(tmp_path))
    with open_run(tmp_path) as run:
        kept = list(run.samples())
        assert run.record.extractor["model"] == "judge-1"
    assert [record.answers for record in kept] == [{"llm": "5"}] * SAMPLES
    assert [record.text for record in kept] == [record.text for record in first]
    assert len(chat_endpoint.seen) == SAMPLES


@pytest.mark.parametrize(
    ("reply", "error"),
    [((401, "no such key"), "BadRequestError"), ((200, "It is 5."), "MalformedReplyError"),
     ((200, ""), "MalformedReplyError"), ((429, "later"), "BackendUnavailableError"),
     ((200, "<think>so ANSWER: 5", "length"), "CutReplyError"),
     ((200, "", "length"), "CutReplyError"), ((200, b"<html>"), "MalformedReplyError"),
     ((200, "ANSWER: 5", "content_filter"), "BadRequestError")],
)  # fmt: skip
def test_a_failure_is_noted_and_counted_and_no_answer(chat_endpoint, tmp_path, reply, error):
    chat_endpoint.replies = [reply]
    records, summary = produce(extractor="llm", run_dir=str(tmp_path))
    assert summary.state == "finished"
    for record in records:
        assert record.answers == {}
        assert record.notes[NOT_EXTRACTED].startswith(error)
    gold = Gold("5")
    sampled = [Sampled(record.text, record.answers, False, "") for record in records]
    grades = grade_question(sampled, gold, "llm")
    assert {grade.error for grade in grades} == {"not extracted"}
    figures = question_metrics(grades, gold, "llm")
    assert figures["grading_error"] == 1.0
    assert figures["invalid"] == 0.0
    assert not [name for name in figures if name.startswith("disagree")]
    # A failure is recorded like a reply: it is asked again where that is wanted, not by accident.
    chat_endpoint.replies = [(200, "ANSWER: 5")]
    asked = len(chat_endpoint.seen)
    again, _ = produce(extractor="llm", run_dir=str(tmp_path))
    assert len(chat_endpoint.seen) == asked
    assert all(NOT_EXTRACTED in record.notes for record in again)


def test_failed_extractions_are_tried_again_where_that_is_wanted(chat_endpoint, tmp_path):
    chat_endpoint.replies = [(401, "no such key")]
    produce(extractor="llm", run_dir=str(tmp_path))
    chat_endpoint.replies = [(200, "ANSWER: 5")]
    again, _ = produce(extractor="llm", run_dir=str(tmp_path), retry_failed=True)
    assert [record.answers for record in again] == [{"llm": "5"}] * SAMPLES
    assert all(NOT_EXTRACTED not in record.notes for record in again)


def test_a_run_of_an_earlier_release_is_continued_with_another_request(
    chat_endpoint, tmp_path, monkeypatch
):
    """It had asked for 256 tokens; what it recorded is neither used nor in the way."""
    chat_endpoint.replies = [(200, "so ANSWER: 6", "length")]
    with monkeypatch.context() as earlier:
        earlier.setattr(extraction, "FORM", 0)
        earlier.setattr(extraction, "MOST_REPLY_TOKENS", 256)
        produce(extractor="llm", run_dir=str(tmp_path))
    chat_endpoint.replies = [(200, "ANSWER: 5")]
    again, _ = produce(extractor="llm", run_dir=str(tmp_path))
    assert [record.answers for record in again] == [{"llm": "5"}] * SAMPLES


def test_a_busy_endpoint_is_asked_again(chat_endpoint):
    chat_endpoint.replies = [(500, "busy")] * 2 + [(200, "ANSWER: 5")]
    records, summary = produce(extractor="llm", extractor_concurrency=1, retries=3)
    assert [record.answers for record in records] == [{"llm": "5"}] * SAMPLES
    assert summary.ledger["calls"][CALLS]["faults"] == {"BackendUnavailableError": 2}


def test_an_endpoint_that_is_gone_costs_answers_not_the_run(chat_endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    records, summary = produce(extractor="llm", engine_timeout=0.2)
    assert summary.state == "finished"
    assert len(records) == SAMPLES
    assert all(record.notes[NOT_EXTRACTED] and not record.answers for record in records)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_MODEL"])
def test_a_missing_variable_is_refused_before_anything_is_opened(chat_endpoint, monkeypatch, name):
    monkeypatch.delenv(name)
    given = {"strategy": "mock-turns", "backend": "mock", "draft": "d", "target": "t"}
    settings = parse_settings({**given, "extractor": "boxed+llm"})
    opened = []
    monkeypatch.setattr(plugins, "backend", opened.append)
    with pytest.raises(SettingError, match=f"{name} is not set"):
        Harness(settings)
    assert not opened


def test_another_model_does_not_continue_a_run(chat_endpoint, monkeypatch, tmp_path):
    produce(extractor="llm", run_dir=str(tmp_path))
    monkeypatch.setenv("OPENAI_MODEL", "judge-2")
    with pytest.raises(JournalMismatchError, match=r"extractor.model was 'judge-1', now 'judge-2'"):
        produce(extractor="llm", run_dir=str(tmp_path))


def test_the_key_is_nowhere_in_the_run_directory(chat_endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "not-to-be-found")
    produce(extractor="llm", run_dir=str(tmp_path))
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"not-to-be-found" not in written


def test_an_unknown_extractor_beside_another_is_named():
    from atts_harness.grading.extraction import extractors_of

    assert extractors_of("llm+boxed+llm") == ("llm", "boxed")
    with pytest.raises(UnknownSettingError, match="did you mean boxed"):
        extractors_of("llm+boxd")
