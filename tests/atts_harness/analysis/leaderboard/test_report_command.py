"""`atts report`: what it writes, and clear words for what it cannot use."""

import importlib.util
import json
import sqlite3

import pytest
import typer
from typer.testing import CliRunner

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.command import report_command
from atts_harness.analysis.leaderboard.sources import Options
from atts_harness.errors import AttsError, MissingExtraError, SettingError
from atts_harness.results.golds import PROMPTS


def invoke(*args, documents=None):
    app = typer.Typer()
    app.callback()(lambda: None)
    report_command(app, documents)
    return CliRunner().invoke(app, ["report", *map(str, args)])


def said(result):
    """The error of a command that failed, which `atts` shows as it is and ends with status 1."""
    assert result.exit_code == 1
    assert isinstance(result.exception, AttsError), result.exception
    return str(result.exception)


def test_it_writes_every_file(make_run, tmp_path):
    folder = make_run("atts")
    result = invoke(folder, "--out", tmp_path / "out", "--no-html")
    assert result.exit_code == 0, result.exception
    assert "atts rate=0.5" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "leaderboard.json",
    }
    assert all(path.stat().st_size for path in (tmp_path / "out").iterdir())


def test_what_goes_into_a_pipe_is_text_too(make_run, tmp_path):
    """Whoever shows it later has a terminal: `atts report RUN | less -R`, a log, a CI page."""
    folder = make_run("x\x1b[2J\x9b31m [bold]y[/bold]", name="odd")
    result = invoke(folder, "--out", tmp_path / "out", "--no-html")
    assert result.exit_code == 0, result.exception
    assert "x␛[2J\ufffd31m [bold]y[/bold]" in result.output
    assert not set(result.output) & set("\x1b\x9b")


@pytest.mark.skipif(
    importlib.util.find_spec("jinja2") is None or importlib.util.find_spec("matplotlib") is None,
    reason="the page needs the extra [report]",
)
def test_it_writes_the_page(make_run, tmp_path):
    folder = make_run("atts")
    result = invoke(folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.exception
    whole = (tmp_path / "out" / "report.html").read_text()
    assert "<html" in whole
    assert "are left out" not in whole
    invoke(folder, "--out", tmp_path / "none", "--page-samples", 0)
    page = (tmp_path / "none" / "report.html").read_text()
    assert "0 samples are in this page" in page
    assert str(folder) in page


def test_figures_by_their_names_and_what_to_cite(make_run, tmp_path):
    out = tmp_path / "out"
    result = invoke(make_run("atts"), "--out", out, "--figures", "cost, pareto", "--cite")
    assert result.exit_code == 0, result.exception
    drawn = {path.name.partition("-")[2] for path in (out / "figures").iterdir()}
    kinds = ("1col.pdf", "2col.pdf")
    assert {f"cost-{kind}" for kind in kinds} | {"cost.svg", "cost.png"} <= drawn
    assert {f"pareto-tokens-{kind}" for kind in kinds} <= drawn
    assert not [name for name in drawn if name.startswith(("rate", "slots", "waiting"))]
    assert "@misc{xiong2025atts," in result.output
    assert "@misc{xiong2025atts," in (out / "references.bib").read_text()


def test_a_figure_that_there_is_not_is_one_line_before_anything_is_read(make_run, tmp_path):
    out = tmp_path / "out"
    words = said(invoke(tmp_path / "no", "--out", out, "--figures", "pareto,rat"))
    assert "--figures" in words
    assert "did you mean rate" in words
    assert "give all, or names of pareto-tokens" in said(invoke(tmp_path, "--figures", ","))
    assert not out.exists()


def test_without_the_extra_the_other_files_are_there(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "atts_harness.analysis.leaderboard.command.PAGE_NEEDS", ("no_such_package",)
    )
    result = invoke(make_run("atts"), "--out", tmp_path / "out")
    assert isinstance(result.exception, MissingExtraError)
    assert "atts-harness[report]" in said(result)
    assert (tmp_path / "out" / "leaderboard.json").is_file()


def test_nothing_there(tmp_path):
    assert "there is no such file or folder" in said(invoke(tmp_path / "no"))
    assert "nothing to report: neither a run directory" in said(invoke(tmp_path))
    (tmp_path / "x.json").write_text("{}")
    assert "not a results file of lm-eval (no `results`" in said(invoke(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text("{")
    assert "not a results file of lm-eval: " in said(invoke(tmp_path / "x.json"))
    (tmp_path / "x.jsonl").write_text("{}")
    assert "is a sample log; give the results_*.json" in said(invoke(tmp_path / "x.jsonl"))


def test_an_incomplete_run_is_refused_and_says_what_is_missing(make_run, tmp_path):
    folder = make_run("atts", missing=[(0, 1), (5, 3)], results=False, log=False)
    words = said(invoke(folder, "--no-html"))
    assert "incomplete: 2 of 24 samples are missing (t/0/1, t/5/3)" in words


def test_an_incomplete_run_by_force_counts_what_is_missing_as_wrong(make_run):
    folder = make_run("target-only", lambda doc, repeat: True, missing=[(0, 1)], log=False)

    def documents(task):
        return [
            {"prompt": f"What is {n}?", "answer": str(n), PROMPTS: [f"prompt {n}"]}
            for n in range(6)
        ]

    (row,) = report([folder], Options(force=True, documents=documents)).leaderboard.rows
    assert row.missing == 1
    assert row.samples == 24
    assert row.pass_1.value == pytest.approx(23 / 24)
    assert "not finished: 1 of 24 samples are missing" in " ".join(row.notes)


def test_a_run_directory_alone_is_graded_with_its_documents(make_run):
    folder = make_run("target-only", results=False, log=False)

    def documents(task):
        wrong = {3: "99"}
        return [
            {"prompt": f"{n}?", "answer": wrong.get(n, str(n)), PROMPTS: [f"prompt {n}"]}
            for n in reversed(range(6))
        ]

    (row,) = report([folder], Options(documents=documents)).leaderboard.rows
    assert row.pass_1.value == pytest.approx(5 / 6)
    assert row.source.results is None
    assert any("not recorded, so not compared: task version" in note for note in row.notes)


def test_a_run_directory_whose_documents_are_others_is_not_graded(make_run):
    folder = make_run("target-only", results=False, log=False)

    def documents(task):
        return [{"prompt": "other", "answer": "1", PROMPTS: ["another prompt"]}]

    (row,) = report([folder], Options(documents=documents)).leaderboard.rows
    assert row.pass_1 is None
    assert "not graded: task t: 6 of 6 questions" in " ".join(row.notes)
    assert row.tokens.target_computed == 50


def test_a_run_of_another_version(make_run):
    folder = make_run("atts")
    with sqlite3.connect(folder / "journal.sqlite3") as journal:
        journal.execute("PRAGMA user_version = 99")
    assert "99" in said(invoke(folder, "--no-html"))


def test_results_of_another_version(make_run):
    folder = make_run("atts", journal=False)
    file = next(folder.glob("results_*.json"))
    told = json.loads(file.read_text())
    told["config"]["atts"]["schema"] = 99
    file.write_text(json.dumps(told))
    assert "was written by a run of schema 99, this reads up to 3" in said(
        invoke(folder, "--no-html")
    )


def test_no_ledger(make_run):
    folder = make_run("atts", name="a", journal=False, statistics=False)
    assert "no ledger: config.atts.statistics has nothing of task t" in said(invoke(folder))
    folder = make_run("atts", name="b", calls=False)
    words = said(invoke(folder, "--no-html"))
    assert "no ledger: the journal holds 24 samples of t and no call" in words


def test_zero_samples(make_run):
    folder = make_run("target-only", name="a", journal=False)
    next(folder.glob("samples_*.jsonl")).write_text("")
    assert "holds no samples" in said(invoke(folder, "--no-html"))
    folder = make_run("target-only", name="b", problems=0, results=False, log=False)
    assert "the run has no samples" in said(invoke(folder, "--no-html"))


def test_what_cannot_be_used_is_said_beside_what_can(make_run, tmp_path):
    make_run("atts", name="cut", missing=[(0, 0)])
    folder = make_run("target-only")
    result = invoke(folder.parent, "--out", tmp_path / "out", "--no-html")
    assert result.exit_code == 0
    assert "left out:" in result.output
    assert "incomplete: 1 of 24" in " ".join(result.output.split())
    (refusal,) = report([folder.parent]).leaderboard.refused
    assert refusal.path.endswith("cut")
    assert "incomplete" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_broken_logs_are_told_with_their_line(make_run):
    folder = make_run("target-only", journal=False)
    log = next(folder.glob("samples_*.jsonl"))
    log.write_text(log.read_text() + "{broken\n")
    assert "line 7 is not JSON" in said(invoke(folder, "--no-html"))
    log.write_text('{"a": 1}\n')
    assert "line 1 is not a sample of lm-eval's logs" in said(invoke(folder, "--no-html"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--prices", "draft"), "--prices 'draft': expected draft=IN/OUT"),
        (("--prices", "draft=x"), "--prices draft: expected dollars"),
        (("--parameters", "7B"), "--parameters '7B': expected"),
        (("--level", "95"), "--level 95.0: must lie between 0 and 1"),
    ],
)
def test_settings_that_are_none(make_run, option, words):
    assert words in said(invoke(make_run("atts"), *option))


def test_a_folder_that_cannot_be_written(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke(make_run("atts"), "--out", tmp_path / "file" / "out", "--no-html")
    assert isinstance(result.exception, SettingError)
    assert "cannot be written" in said(result)
