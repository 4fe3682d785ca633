"""Grading saved runs again."""

import gzip
import json

import msgspec
import pytest
from typer.testing import CliRunner

from atts_harness.analysis.regrade.regrade import Means, calls_needed, regrade, summary, write
from atts_harness.errors import BackendUnavailableError, SettingError, UnknownSettingError
from atts_harness.judging.calls import JudgeCalls
from atts_harness.judging.llm import ChatReply
from atts_harness.results.find import saved_tasks
from atts_harness.results.values import MISSING

from .conftest import command, read


def trace(question, repeat, turns, gold="12", answer="12"):
    return {
        "sample": 0,
        "question_index": 0,
        "repeat": repeat,
        "question_id": question,
        "question": "?",
        "gold": gold,
        "answer": answer,
        "answer_regex": "invalid",
        "duration_s": 1.0,
        "turns": turns,
    }


def turn(number, draft, target=None):
    found = {"turn": number, "draft": draft, "ppl": 1.5, "percentile": 0.1}
    return found if target is None else {**found, "target": target}


@pytest.fixture
def traces(tmp_path):
    """Two questions with three repeats; the second's middle one is not there, and out of order."""
    lines = [
        trace("q2", 2, [turn(0, r"\boxed{5}")], gold="5", answer="5"),
        trace("q1", 0, [turn(0, "so", " we get"), turn(1, r"\boxed{12}")]),
        trace("q1", 2, [turn(0, "no idea")], answer="invalid"),
        trace("q1", 1, [turn(0, r"\boxed{\frac{24}{2}}")], answer="wrong by hand"),
        trace("q2", 0, [turn(0, "Answer: 5")], gold="5", answer="5"),
    ]
    path = tmp_path / "run.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def test_samples_are_matched_by_question_and_repeat_and_a_missing_one_is_wrong(traces):
    (result,) = regrade(read(traces))
    assert [q.question.name for q in result.questions] == ["q2", "q1"]
    right = [[grade.right for grade in own] for own in result.grades]
    assert right == [[False, False, True], [True, True, False]]
    assert result.missing == [("q2", 1)]
    assert result.grades[0][1].failed == MISSING
    assert result.figures["pass@1"]["value"] == 0.5
    assert result.extractors["published"]["value"] == 0.5
    assert result.extractors["last_expression"]["value"] == pytest.approx(2 / 3)
    assert result.extractors["published_regex"]["value"] == 0.0


def test_transcripts_are_joined_as_published(traces):
    q1 = list(read(traces)[0])[1]
    assert q1.samples[0].text == "so\n\n we get\n\n\\boxed{12}"


def test_more_repeats_can_be_demanded(traces):
    (result,) = regrade(read(traces), Means(repeats=4))
    assert result.missing == [("q2", 1), ("q2", 3), ("q1", 3)]
    assert result.figures["pass@1"]["value"] == 3 / 8


def test_originals_stay_and_results_go_beside(traces, tmp_path):
    before = traces.read_bytes()
    head, body = write(regrade(read(traces)), tmp_path / "out")
    rows = [json.loads(line) for line in body.read_text().splitlines()]
    assert len(rows) == 6
    edited = next(row for row in rows if row["question"] == "q1" and row["repeat"] == 1)
    assert edited["original"] == "wrong by hand"
    assert edited["answer"] == r"\frac{24}{2}"
    assert edited["right"] is True
    assert json.loads(head.read_text())["run"]["missing"] == [["q2", 1]]
    assert traces.read_bytes() == before


def test_a_doubled_sample_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text((json.dumps(trace("q", 0, [turn(0, "x")])) + "\n") * 2)
    with pytest.raises(SettingError, match="question q, repeat 0 is there twice"):
        read(path)


class Model:
    """Replies by the end of the text; counts what it is asked."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        found = self.reply(request)
        if found is None:
            raise BackendUnavailableError("down")
        return found if isinstance(found, ChatReply) else ChatReply(found, False, 10, 2)


def test_a_models_extraction_is_asked_once_and_kept(traces, tmp_path):
    model = Model(lambda request: "ANSWER: 12" if "idea" in request else "ANSWER: NONE")
    assert calls_needed(read(traces), "llm") == 5
    assert calls_needed(read(traces), "boxed") == 0
    calls = JudgeCalls(model, tmp_path / "calls.jsonl")
    (result,) = regrade(read(traces), Means("llm", calls=calls))
    assert (calls.call_count, calls.tokens, calls.failed.total()) == (5, 60, 0)
    assert [g.right for g in result.grades[1]] == [False, False, True]
    assert result.figures["invalid"]["value"] == pytest.approx(4 / 6)
    again = JudgeCalls(model, tmp_path / "calls.jsonl")
    (second,) = regrade(read(traces), Means("llm", calls=again))
    assert again.call_count == 0
    assert summary([second]) == summary([result])


def test_calls_that_fail_are_errors_of_grading_and_not_wrong_answers(traces):
    calls = JudgeCalls(Model(lambda request: None if "idea" in request else "no form at all"))
    (result,) = regrade(read(traces), Means("llm", calls=calls))
    assert calls.failed == {"BackendUnavailableError": 1, "MalformedReplyError": 4}
    assert result.failed_calls == calls.failed
    assert summary([result])[result.task]["failed_calls"] == result.failed_calls
    assert "5 failed (BackendUnavailableError 1, MalformedReplyError 4; such as:" in calls.words()
    assert result.figures["grading_error"]["value"] == pytest.approx(5 / 6)
    assert result.figures["pass@1"]["value"] is None  # nothing was extracted: that is not wrong


def test_a_reply_that_was_cut_is_an_error_now_and_when_it_is_read_again(traces, tmp_path):
    def thinks(request):
        return ChatReply("<think>ANSWER: 12, or", "idea" not in request, 10, 4096)

    for _ in range(2):
        calls = JudgeCalls(Model(thinks), tmp_path / "calls.jsonl")
        (result,) = regrade(read(traces), Means("llm", calls=calls))
        assert calls.failed == {"CutReplyError": 4, "MalformedReplyError": 1}
        assert result.figures["grading_error"]["value"] == pytest.approx(5 / 6)
    assert calls.call_count == 0  # what is paid for is not paid again


def test_a_judge_stands_beside_the_grader_and_changes_nothing(traces):
    judge = JudgeCalls(Model(lambda request: "SAME" if r"\frac" in request else "DIFFERENT"))
    (result,) = regrade(read(traces), Means(judge=judge))
    assert result.figures["pass@1"]["value"] == 0.5
    assert result.judged == {
        "right": pytest.approx(1 / 6),
        "differs": pytest.approx(2 / 6),
        "unknown": 0.0,
    }


def test_a_broken_log_is_left_out_and_named(traces, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    graded = {"answer": "1", "answers": {"boxed": "1"}, "truncated": False, "failed": "",
              "right": True}  # fmt: skip
    line = {"doc_id": 0, "doc": {"gold": "1", "doc_id": 0}, "resps": [[r"\\boxed{1}"]],
            "filter": "all", "graded": [graded]}  # fmt: skip
    date = "2026-01-01T00-00-00.000000"
    (logs / f"samples_sound_{date}.jsonl").write_text(json.dumps(line) + "\n")
    (logs / f"samples_broken_{date}.jsonl").write_text(json.dumps(line)[:-9] + "\n")
    shown = CliRunner().invoke(command(), ["regrade", str(logs), "--out", str(tmp_path / "out")])
    assert shown.exit_code == 1
    words = " ".join(shown.output.split())
    assert "left out: broken: " in words
    assert "line 1 is not JSON" in words
    assert "sound: 1 questions" in words
    assert set(json.loads((tmp_path / "out" / "regraded-boxed.json").read_text())) == {"sound"}


def test_an_unknown_extractor_is_named(traces):
    with pytest.raises(UnknownSettingError, match="boxed"):
        regrade(read(traces), Means("box"))


def test_the_command_shows_figures_and_names_missing_samples(traces, tmp_path):
    out = tmp_path / "out"
    shown = CliRunner().invoke(command(), ["regrade", str(traces), "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    assert "pass@1 by last_expression" in shown.output
    assert "1 samples are missing and count as wrong: q2/1" in shown.output
    assert sorted(path.name for path in out.iterdir()) == [
        "regraded-boxed.json",
        "regraded-boxed.jsonl",
    ]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_said_before_anything_is_asked(
    traces, tmp_path, monkeypatch, place
):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (tmp_path / "file").write_text("mine")
    out = tmp_path / place
    args = ["regrade", str(traces), "--extractor", "llm", "--out", str(out)]
    shown = CliRunner().invoke(command(), args)
    assert isinstance(shown.exception, SettingError)
    assert str(shown.exception).startswith(f"--out: {out} cannot be written (")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_dry_run_calls_no_model_and_writes_nothing(traces, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    args = ["regrade", str(traces), "--extractor", "llm", "--judge", "m", "--dry-run"]
    shown = CliRunner().invoke(command(), args)
    assert shown.exit_code == 0, shown.output
    assert "5 calls to extract and at most 5 to judge" in " ".join(shown.output.split())
    assert [path.name for path in tmp_path.iterdir()] == [traces.name]


def test_a_model_without_an_endpoint_is_told_at_once(traces, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown = CliRunner().invoke(command(), ["regrade", str(traces), "--extractor", "llm"])
    assert isinstance(shown.exception, SettingError)
    assert "OPENAI_API_KEY is not set" in str(shown.exception)


def test_the_published_traces(shared):
    (questions,) = read(shared / "traces" / "atts_math500_ct0.jsonl.gz")
    assert (len(list(questions)), sum(len(q.samples) for q in questions)) == (100, 1600)
    (result,) = regrade([questions])
    found = {name: figures["value"] for name, figures in result.extractors.items()}
    # The default without a model is as good as the published extraction by one: 8 samples fewer.
    assert [round(1600 * found[name]) for name in ("boxed", "published")] == [1318, 1326]
    assert found["published"] == pytest.approx(0.826, abs=0.005)
    assert found["regex"] == found["published_regex"] < 0.75
    assert result.figures["oracle_any@16"]["value"] == pytest.approx(0.97)
    assert result.missing == []


def test_rows_are_plain_data(traces):
    from atts_harness.analysis.regrade.regrade import rows

    found = list(rows(regrade(read(traces))))
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_a_null_gold_in_a_trace_is_an_error(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps(trace("q", 0, [turn(0, "x")], gold=None)))
    with pytest.raises(SettingError, match="question q: the gold None is not an answer"):
        regrade(saved_tasks(path))
