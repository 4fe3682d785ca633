import json
import math

import pytest
from published_folders import NAME, write_sample, write_traces
from published_traces import BANK, needs_traces, samples, scored_turns
from typer.testing import CliRunner

from atts_harness import cli
from atts_harness.analysis.audit.loading import audit_path
from atts_harness.analysis.audit.reranking import rerank_path
from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.regrade.regrade import regrade
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.errors import SettingError
from atts_harness.importing import atts
from atts_harness.importing.write import write_run
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId
from atts_harness.results.find import saved_tasks
from atts_harness.simulation.reading import read_trace

QUESTIONS = ("What is 1 + 1?", "What is 2 + 2?")
TAKEN = {"turn": 0, "draft": "Hm", "ppl": 2.0, "percentile": 0.7, "target": "It is \\boxed{2}"}
KEPT = {"turn": 0, "draft": "So \\boxed{4}", "ppl": 1.2, "percentile": 0.1}


def two_questions(folder, size=2):
    """Two questions with `size` samples each."""
    for number in range(2 * size):
        question, turn = (QUESTIONS[0], TAKEN) if number < size else (QUESTIONS[1], KEPT)
        write_sample(folder, number, question, [turn], seconds=1.0 + number)
    return folder


def golds(tmp_path, *answers):
    path = tmp_path / "golds.jsonl"
    rows = [{"problem": q, "answer": a} for q, a in zip(QUESTIONS, answers, strict=False)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def run_import(*arguments):
    return CliRunner().invoke(cli.build_app(), ["import", *map(str, arguments)])


def imported(tmp_path, folder, **more):
    out = tmp_path / "run"
    write_run(atts.read(folder, "sums"), out, task="sums", program="atts", **more)
    return out


def test_a_folder_becomes_a_run_that_everything_reads(tmp_path):
    folder = two_questions(tmp_path / NAME)
    out = tmp_path / "run"
    told = run_import(folder, "--out", out, "--task", "sums", "--golds", golds(tmp_path, "2", "5"))
    assert told.exit_code == 0
    assert "4 samples of 2 questions, 4 decisions, strategy atts" in told.output
    with open_run(out) as run:
        assert run.complete
        assert run.record.imported == "atts"
        assert run.record.options["turns"] == 15
        first = run.sample(SampleId("sums", 0, 1))
        assert first.text == "Hm\n\nIt is \\boxed{2}"
        assert first.ended == 2.0
        (decision,) = first.decisions
        assert decision.takeover
        assert decision.nonconformity == math.log(2.0)
        assert [d.sequence for d in run.decisions()] == [1, 2, 3, 4]
    (audited,) = audit_path(out)
    assert (audited.overall.scored, audited.overall.takeovers) == (4, 2)
    assert audited.nominal == 0.4
    (row,) = report([out]).leaderboard.rows
    assert row.pass_at["1"].value == 0.5  # 2 is right, 4 is not 5
    assert row.tokens.target_computed is None  # not recorded, which is not 0
    assert row.speed.makespan is None
    assert row.speed.latency_p95 == 4.0
    assert any("imported from atts" in note for note in row.notes)
    (graded,) = regrade(saved_tasks(out))
    assert graded.figures["pass@1"]["value"] == 0.5
    trace = read_trace(out, "sums")
    assert [len(own) for own in trace.samples.values()] == [2, 2]
    assert trace.chunk == 500


def test_a_missing_file_is_a_missing_sample(tmp_path):
    folder = two_questions(tmp_path / "results", size=4)
    (folder / "problem_0002.json").unlink()
    run = atts.read(folder, "sums")
    assert run.notes == ("1 samples of its questions are not there; they stay missing",)
    out = tmp_path / "run"
    write_run(run, out, task="sums", program="atts")
    with open_run(out) as opened:
        assert opened.missing() == [SampleId("sums", 0, 2)]
    assert report([out]).leaderboard.rows == ()


def test_a_file_that_every_question_lacks_is_missed_too(tmp_path):
    folder = two_questions(tmp_path / "results", size=2)
    for number in (1, 2):
        (folder / f"problem_{number:04d}.json").unlink()
    run = atts.read(folder, "sums")
    assert [(q.repeats, sorted(q.samples)) for q in run.questions] == [(2, [0]), (2, [1])]
    assert run.notes == ("2 samples of its questions are not there; they stay missing",)


def test_questions_without_any_file_are_said(tmp_path):
    folder = two_questions(tmp_path / "results", size=2)
    write_sample(folder, 8, "And 3 + 3?", [KEPT])
    write_sample(folder, 9, "And 3 + 3?", [KEPT])
    run = atts.read(folder, "sums")
    assert [(q.repeats, sorted(q.samples)) for q in run.questions] == [(2, [0, 1])] * 3
    assert run.notes == (
        "4 more numbers up to 9 have no file, and no other file of their question is there: "
        "these questions are left out",
    )


def test_two_files_of_one_number_are_refused(tmp_path):
    folder = two_questions(tmp_path / "results")
    (folder / "problem_1.json").write_bytes((folder / "problem_0001.json").read_bytes())
    with pytest.raises(SettingError, match="two files of one number"):
        atts.read(folder, "sums")


def test_a_duration_that_some_samples_lack_is_no_latency(tmp_path):
    folder = two_questions(tmp_path / "results")
    write_sample(folder, 1, QUESTIONS[0], [TAKEN], seconds=None)
    (row,) = report([imported(tmp_path, folder)]).leaderboard.rows
    assert row.speed.latency_p50 is None


def test_without_right_answers_no_accuracy_is_made_up(tmp_path):
    folder = two_questions(tmp_path / "results")
    told = run_import(folder, "--out", tmp_path / "run")
    assert "without right answers it cannot be graded" in told.output
    (row,) = report([tmp_path / "run"]).leaderboard.rows
    assert row.pass_at == {}
    (graded,) = regrade(saved_tasks(tmp_path / "run"))
    assert "no gold" in graded.ungraded


def test_both_eras_of_extraction(tmp_path):
    early = write_sample(tmp_path / "early", 0, "q", [KEPT], answer="4")
    late = write_sample(
        tmp_path / "late", 0, "q", [KEPT], "four", final_answer_regex="4", final_answer_llm="four"
    )
    answers = []
    for path in (early, late):
        (question,) = atts.read(path.parent, "t").questions
        answers.append(question.samples[0].answers)
    assert answers == [
        {"published": "4"},
        {"published": "four", "published_regex": "4"},
    ]


def test_a_failed_score_is_no_rank(tmp_path):
    failed = {"turn": 0, "draft": "x", "ppl": 0.0, "percentile": 0.0}
    write_sample(tmp_path / "results", 0, "q", [failed])
    (question,) = atts.read(tmp_path / "results", "t").questions
    (decision,) = question.samples[0].decisions
    assert (decision.reason, decision.p_value) == ("score-failed", None)


def test_a_sample_without_an_answer_at_its_last_turn_is_truncated(tmp_path):
    folder = tmp_path / "x_sm500_em500_t1_smt0.8"
    write_sample(folder, 0, "q", [{"turn": 0, "draft": "no end"}])
    write_sample(folder, 1, "q", [KEPT])
    (question,) = atts.read(folder, "t").questions
    assert [question.samples[n].truncated for n in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("percentiles", "rate", "note"),
    [
        (((0.59, False), (0.6, True)), 0.4, False),
        (((0.45, False), (0.5, True)), 0.5, True),
        (((0.8, False), (0.7, True)), None, True),
        (((0.0, True), (0.5, True)), 1.0, True),
    ],
)
def test_the_rate_is_what_the_decisions_say(tmp_path, percentiles, rate, note):
    for number, (percentile, taken) in enumerate(percentiles):
        turn = {"turn": 0, "draft": "x", "ppl": 1.5, "percentile": percentile}
        turn |= {"target": "y"} if taken else {}
        write_sample(tmp_path / "results", number, "q", [turn])
    run = atts.read(tmp_path / "results", "t")
    assert run.options["rate"] == rate
    assert bool(run.notes) == note


SCORE = {"turn": 0, "model": "eval_ppl", "ppl": 1.5, "percentile": 0.7}
TAKEOVER = {"turn": 0, "model": "eval_generate", "output": "y"}
ITEM = {"turn": 0, "model": "small", "output": "x"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a sample of published ATTS"),
        ("[]", "not a sample of published ATTS"),
        ({"question": "q"}, "full_history"),
        ({"question": "q", "full_history": [ITEM, ITEM]}, "turn 0 has two drafts"),
        (
            {"question": "q", "full_history": [{"turn": 0, "model": "eval_ppl", "ppl": 1.0}]},
            "has no draft before",
        ),
        (
            {"question": "q", "full_history": [ITEM, {"turn": 0, "model": "judge"}]},
            "unknown kind: model 'judge'",
        ),
        ({"question": "q", "full_history": [{**ITEM, "turn": 3}]}, "not counted from 0"),
        (
            {"question": "q", "full_history": [{**ITEM, "attempt": 1}]},
            "throws drafts away",
        ),
        (
            {"question": "q", "full_history": [ITEM, {"turn": 0, "model": "eval_ppl", "ppl": 1.5}]},
            "a perplexity without a percentile",
        ),
        *(
            ({"question": "q", "full_history": [ITEM, *more]}, words)
            for more, words in (
                ([SCORE, SCORE], "turn 0 has two scores"),
                ([SCORE, TAKEOVER, TAKEOVER], "turn 0 has two takeovers"),
                ([{**SCORE, "percentile": 1.7}], "turn 0 has a percentile of 1.7"),
                ([{**SCORE, "percentile": -0.2}], "turn 0 has a percentile of -0.2"),
                ([{**SCORE, "ppl": 0.5}], "turn 0 has a perplexity of 0.5"),
                ([{**SCORE, "ppl": -1.0}], "turn 0 has a perplexity of -1"),
            )
        ),
        (
            {"question": "q", "full_history": [ITEM], "duration_seconds": -5},
            "duration_seconds is -5",
        ),
    ],
)
def test_damaged_files_are_one_line(tmp_path, content, words):
    folder = tmp_path / "results"
    folder.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "problem_0000.json").write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=words) as caught:
        list(atts.read(folder, "t").questions)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_imported_leaves_nothing(tmp_path):
    folder = two_questions(tmp_path / "results")
    few = golds(tmp_path, "2")
    cases = [
        ((tmp_path / "nowhere", "--out", tmp_path / "run"), "there is no such folder"),
        ((tmp_path, "--out", tmp_path / "run"), "no published result folder that can be read"),
        ((folder, "--out", tmp_path / "run", "--golds", few), "has no question 'What is 2"),
        ((folder, "--out", folder), "exists already"),
        ((folder, "--out", tmp_path / "run", "--golds", "no_such_task"), "no_such_task"),
    ]
    for arguments, words in cases:
        result = run_import(*arguments)
        assert isinstance(result.exception, SettingError)
        assert words in str(result.exception)
        assert not list(tmp_path.glob("run*"))


def test_two_answers_for_a_question_are_refused(tmp_path):
    folder = two_questions(tmp_path / "results")
    path = tmp_path / "golds.jsonl"
    rows = [{"question": QUESTIONS[0], "answer": answer} for answer in ("2", "3")]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = run_import(folder, "--out", tmp_path / "run", "--golds", path)
    assert "two answers for the question" in str(result.exception)


@needs_traces
def test_every_published_decision_comes_out_again(tmp_path):
    folder = tmp_path / NAME
    write_traces(folder, samples())
    out = imported(tmp_path, folder)
    with open_run(out) as run:
        assert len(list(run.decisions())) == len(scored_turns()) == 6065
    (made,) = rerank_path(out, BANK)
    assert (made.scored, made.same, made.same_p_values, made.first) == (6065, 6065, 6065, None)


@needs_traces
def test_decisions_of_another_bank_do_not_come_out(tmp_path):
    folder = tmp_path / NAME
    write_traces(folder, samples()[:160])
    out = imported(tmp_path, folder)
    other = tmp_path / "bank.json"
    write_bank(bank_of((0, 0, n / 100) for n in range(60)), other)
    (made,) = rerank_path(out, other)
    assert made.same < made.scored
    told = CliRunner().invoke(cli.build_app(), ["audit", str(out), "--bank", str(other)])
    assert told.exit_code == 1
    assert f"{made.same} of {made.scored} decisions are reproduced" in told.output
    assert made.first in told.output
