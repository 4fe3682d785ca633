"""Grading saved runs again."""

import asyncio
import gzip
import json

import msgspec
import pytest
from typer import Typer
from typer.testing import CliRunner

from atts_harness.analysis.regrade.command import regrade_command
from atts_harness.analysis.regrade.regrade import Means, calls_needed, regrade, summary, write
from atts_harness.errors import BackendUnavailableError, SettingError, UnknownSettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.hashing import prompt_hash
from atts_harness.journal.plan import Planned
from atts_harness.judging.calls import JudgeCalls
from atts_harness.judging.llm import ChatReply
from atts_harness.records import RunRecord, SampleId, SampleRecord
from atts_harness.results.find import saved_tasks
from atts_harness.results.golds import PROMPTS
from atts_harness.results.values import MISSING, SavedTask
from atts_harness.transcript import Message


def read(path, documents=None):
    """The saved tasks at a path, read to their ends."""
    return [SavedTask(saved.task, list(saved).__iter__) for saved in saved_tasks(path, documents)]


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


def log_row(number, texts, **more):
    return {
        "doc_id": number,
        "doc": {"question": "?", "answer": f"so\n#### {number}"},
        "target": str(number),
        "arguments": [],
        "resps": [texts],
        "filtered_resps": [texts[0]],
        "filter": "strict-match",
        "exact_match": 0.0,
        **more,
    }


def test_plain_sample_logs_of_other_models(tmp_path):
    log = tmp_path / "model" / "samples_gsm8k_2026-11-22T10-00-00.000000.jsonl"
    log.parent.mkdir()
    older = log.with_name("samples_gsm8k_2026-11-21T10-00-00.000000.jsonl")
    older.write_text(json.dumps(log_row(9, ["no"])) + "\n")
    rows = [
        log_row(3, ["The answer is 3."]),
        log_row(4, ["The answer is 5."]),
        # The same documents under another filter hold the same texts.
        log_row(3, ["The answer is 3."], filter="flexible-extract"),
        log_row(4, ["The answer is 5."], filter="flexible-extract"),
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (result,) = regrade(read(tmp_path), Means("last_expression"))
    assert result.task == "gsm8k"
    assert [q.question.name for q in result.questions] == ["3", "4"]
    assert result.figures["pass@1"]["value"] == 0.5


def test_logs_of_our_tasks_bring_records_and_golds(tmp_path):
    doc = {"id": "a", "question": "?", "gold": "$1$,$2$", "kind": "maths", "several": True,
           "tolerance": None, "unit": None, "choices": []}  # fmt: skip
    graded = [
        {"answer": "1, 2", "answers": {"boxed": "1, 2", "llm": "2, 1"}, "truncated": False,
         "failed": ""},
        {"answer": None, "answers": {"boxed": None, "llm": None}, "truncated": True, "failed": ""},
        {"answer": None, "answers": {}, "truncated": False, "failed": "timeout"},
    ]  # fmt: skip
    row = log_row(0, [r"\boxed{2, 1}", "cut", ""], doc=doc, graded=graded)
    (tmp_path / "samples_atts_x_2026.jsonl").write_text(json.dumps(row) + "\n")
    (result,) = regrade(read(tmp_path), Means("llm"))
    assert result.task == "atts_x"
    assert [g.right for g in result.grades[0]] == [True, False, False]
    assert result.figures["truncated"]["value"] == pytest.approx(1 / 3)
    assert result.figures["failed"]["value"] == pytest.approx(1 / 3)
    assert result.questions[0].original == {0: "1, 2", 1: None, 2: None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "empty"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", "[]\n", "not an object"),
        ("a.jsonl", '{"x": 1}\n', "neither an lm-eval sample log nor published traces"),
    ],
)
def test_files_that_are_no_runs(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingError, match=message):
        read(tmp_path / name)


def test_an_empty_folder(tmp_path):
    with pytest.raises(SettingError, match="nothing to grade"):
        read(tmp_path)


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


def command(documents=None):
    app = Typer()
    app.callback()(lambda: None)
    regrade_command(app, documents)
    return app


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


def asked(question, **fields):
    """A document as its task hands it over, with the digest of the prompt it is asked by."""
    return {**fields, PROMPTS: [prompt_hash([Message("user", question)])]}


@pytest.fixture
def folder(tmp_path):
    """A run directory: two questions, two repeats each, one of them without a sample."""
    directory = RunDirectory(tmp_path / "run")
    words = {0: "What is 7?", 1: "What is 8?"}
    plan = {
        SampleId("t", doc, repeat): Planned(prompt_hash([Message("user", text)]))
        for doc, text in words.items()
        for repeat in range(2)
    }
    journal = directory.journal(RunRecord(strategy="s"), plan)

    async def record():
        texts = {(0, 0): r"\boxed{7}", (0, 1): "cut", (1, 1): r"\boxed{8}"}
        for (doc, repeat), text in texts.items():
            await journal.record_sample(
                SampleRecord(
                    id=SampleId("t", doc, repeat),
                    strategy="s",
                    text=text,
                    finish="eos",
                    truncated=text == "cut",
                )
            )

    asyncio.run(record())
    journal.close()
    directory.close()
    return tmp_path / "run"


SEVEN = asked("What is 7?", id="seven", gold="7")
EIGHT = asked("What is 8?", id="eight", gold="8")
NINE = asked("What is 9?", id="nine", gold="9")


@pytest.mark.parametrize("documents", [[SEVEN, EIGHT], [NINE, EIGHT, SEVEN]])
def test_a_run_directory(folder, documents):
    """A journal holds texts and no golds: those come from the task's documents, by their words."""
    (result,) = regrade(read(folder, lambda task: documents))
    assert [q.question.name for q in result.questions] == ["seven", "eight"]
    assert [[g.right for g in own] for own in result.grades] == [[True, False], [False, True]]
    assert result.missing == [("eight", 0)]
    assert result.grades[0][1].truncated is True


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([SEVEN], "1 of 2 questions of the run, the first of them document 1, are not asked in"),
        ([EIGHT, NINE], "the first of them document 0, .* --system-instruction if it had one"),
        ([SEVEN, EIGHT, {**SEVEN, "gold": "6"}], "asked in the same words and have different"),
    ],
)
def test_documents_that_are_not_the_runs_are_refused(folder, documents, message):
    with pytest.raises(SettingError, match=message):
        read(folder, lambda task: documents)


def test_the_command_hands_on_what_the_run_was_given(folder):
    given = []

    def documents(task, **how):
        given.append((task, how))
        return [SEVEN, EIGHT]

    how = {"system_instruction": "Think.", "metadata": {"repeats": 2}}
    args = ["--system-instruction", "Think.", "--metadata", '{"repeats": 2}']
    shown = CliRunner().invoke(command(documents), ["regrade", str(folder), *args])
    assert shown.exit_code == 0, shown.output
    assert given == [("t", how)]
    for wrong in ("{", "[]"):
        args = ["regrade", str(folder), "--metadata", wrong]
        shown = CliRunner().invoke(command(documents), args)
        assert "--metadata: " in str(shown.exception)


def test_a_run_directory_needs_documents(folder):
    with pytest.raises(SettingError, match="needs its tasks' documents"):
        read(folder)


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


def written(tmp_path, *rows, task="gsm8k", folder="model"):
    log = tmp_path / folder / f"samples_{task}_2026-11-22T10-00-00.000000.jsonl"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return log


def test_documents_of_one_id_are_as_many_questions(tmp_path):
    """Their own `id` names them for people and merges nothing: three of four were lost by it."""
    rows = [
        log_row(n, ["The answer is 3."], doc={"id": "same", "gold": str(n)}, target=None)
        for n in range(4)
    ]
    (result,) = regrade(saved_tasks(written(tmp_path, *rows)), Means("last_expression"))
    assert len(result.questions) == 4
    assert result.figures["pass@1"]["value"] == 0.25


def test_two_runs_of_one_task_are_not_put_together(tmp_path):
    for folder, answer in (("a", "3"), ("b", "5")):
        written(tmp_path, log_row(3, [f"The answer is {answer}."]), folder=folder)
    results = regrade(saved_tasks(tmp_path), Means("last_expression"))
    found = {result.task: result.figures["pass@1"]["value"] for result in results}
    assert found == {"gsm8k (a)": 1.0, "gsm8k (b)": 0.0}
    assert summary(results).keys() == found.keys()


def test_a_smaller_log_does_not_stand_for_a_larger_one(tmp_path):
    log = written(tmp_path, log_row(1, ["1"]), log_row(2, ["2"]))
    newer = log.with_name(log.name.replace("11-22", "11-23"))
    newer.write_text(json.dumps(log_row(1, ["1"])) + "\n")
    with pytest.raises(SettingError, match=r"has 1 documents, the older .* has 2; give one"):
        saved_tasks(tmp_path)


@pytest.mark.parametrize("gold", [None, "", float("nan"), {"a": 1}])
def test_a_gold_that_is_none_is_an_error(tmp_path, gold):
    log = written(tmp_path, log_row(0, ["None"], doc={"gold": gold}, target=None))
    with pytest.raises(SettingError, match=r"line 1: document 0: the gold .* is not an answer"):
        regrade(saved_tasks(log))


def test_a_null_gold_in_a_trace_is_an_error(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps(trace("q", 0, [turn(0, "x")], gold=None)))
    with pytest.raises(SettingError, match="question q: the gold None is not an answer"):
        regrade(saved_tasks(path))


@pytest.mark.parametrize(
    "targets",
    [[0, 0, 0], ["def check(f):\n    assert f(1)"] * 2, [{"a": 1}, {"b": 2}], [[], []]],
    ids=["constant", "program", "object", "empty list"],
)
def test_a_task_without_golds_has_no_invented_accuracy(tmp_path, targets):
    rows = [log_row(n, ["text"], doc={"q": n}, target=target) for n, target in enumerate(targets)]
    (result,) = regrade(saved_tasks(written(tmp_path, *rows)))
    assert result.figures == {}
    assert "no gold that this grader can read" in result.ungraded
    for how in (["--dry-run"], ["--out", str(tmp_path / "out")]):
        shown = CliRunner().invoke(command(), ["regrade", str(tmp_path), *how])
        assert shown.exit_code == 0, shown.output
        assert "are not graded" in shown.output
        assert "0.0000" not in shown.output
    assert (tmp_path / "out" / "regraded-boxed.jsonl").read_text() == ""
    told = json.loads((tmp_path / "out" / "regraded-boxed.json").read_text())
    assert "pass@1" not in told["gsm8k"]


def test_any_of_several_golds_makes_an_answer_right(tmp_path):
    row = log_row(0, [r"\boxed{8}", r"\boxed{9}"], doc={"q": "?"}, target=["7", "8"])
    (result,) = regrade(saved_tasks(written(tmp_path, row)))
    assert [grade.right for grade in result.grades[0]] == [True, False]
    assert result.extractors["boxed"]["value"] == 0.5


def test_an_extractor_that_was_never_asked_has_an_empty_cell(tmp_path):
    log = written(tmp_path, log_row(1, [r"\boxed{1}"]))
    (result,) = regrade(saved_tasks(log), Means("llm"))
    assert result.figures["pass@1"]["value"] is None
    assert result.extractors["llm"] == {**dict.fromkeys(result.figures["pass@1"]), "samples": 0}


def test_an_extractor_counts_where_it_was_asked(tmp_path):
    graded = [
        {"right": True, "answer": "1", "answers": {"boxed": "1", "llm": "1"}, "failed": ""},
        {"right": True, "answer": "1", "answers": {"boxed": "1"}, "failed": ""},
    ]
    log = written(tmp_path, log_row(1, [r"\boxed{1}"] * 2, graded=graded))
    (result,) = regrade(saved_tasks(log))
    assert (result.extractors["llm"]["value"], result.extractors["llm"]["samples"]) == (1.0, 1)
    assert result.extractors["boxed"]["samples"] == 2
