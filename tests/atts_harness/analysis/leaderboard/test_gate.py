"""`atts gate`: decisions as exit status."""

import pytest
import typer
from typer.testing import CliRunner

from atts_harness.analysis.leaderboard.gate import GateError, gate_command, overall


def invoke(*arguments):
    app = typer.Typer()
    gate_command(app)
    app.command("other")(lambda: None)  # with two commands typer wants the name of one
    return CliRunner().invoke(app, ["gate", *map(str, arguments)])


def right_of(share):
    return lambda doc, repeat: (doc * 7 + repeat * 3) % 10 < 10 * share


def test_a_row_that_is_as_good_goes(make_run):
    folder = make_run("target-only", right_of(0.6), problems=60, repeats=4)
    make_run("atts", right_of(0.6), problems=60, repeats=4)
    found = invoke(folder.parent, "--against", "target-only", "--margin", "0.05")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("GO: atts")
    assert "difference +0.000, bounds -0.0" in found.stdout
    assert "margin 0.05, 60 problems and 240 samples in common" in found.stdout


def test_a_row_that_is_worse_does_not(make_run):
    folder = make_run("target-only", right_of(0.8), problems=40, repeats=4)
    make_run("atts", right_of(0.2), problems=40, repeats=4)
    found = invoke(folder.parent, "--against", "target-only", "--margin", "0.05")
    assert found.exit_code == 1
    assert found.stdout.startswith("NO-GO: atts")


def test_a_few_problems_do_not_tell(make_run):
    folder = make_run("target-only", right_of(0.6), problems=8)
    make_run("atts", right_of(0.6), problems=8)
    found = invoke(folder.parent, "--against", "target-only")
    assert found.exit_code == 4
    assert "inconclusive: about" in found.stdout


def test_names_are_text(make_run):
    folder = make_run("target-only", right_of(0.6), problems=8)
    make_run("x\x1b[2J", right_of(0.6), problems=8, name="odd")
    broken = folder.with_name("no\x1b[2J")
    broken.mkdir()
    (broken / "results_2026-01-02T03-04-05.000000.json").write_text("{")
    found = invoke(folder.parent, "--against", "target-only")
    assert "x␛[2J" in found.stdout
    assert "left out: " in found.stderr
    assert "/no␛[2J/" in found.stderr
    assert "\x1b" not in found.output


def test_the_worst_of_several_decides():
    assert overall(["GO", "INCONCLUSIVE", "NO-GO"]) == "NO-GO"
    assert overall(["GO", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert overall(["GO", "GO"]) == "GO"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--against", "target-only", "--margin", "0"), "--margin 0: must lie between"),
        (("--against", "target-only", "--margin", "1"), "--margin 1: must lie between"),
        (("--against", "target-only", "--margin", "nan"), "--margin nan: must lie between"),
        (("--against", "target-only", "--level", "0.5"), "--level 0.5: must lie between"),
        (("--against", "hf"), "--against hf: no such row; there are: "),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_another_status(make_run, arguments, said):
    folder = make_run("target-only", right_of(0.6), problems=8)
    make_run("atts", right_of(0.6), problems=8)
    found = invoke(folder.parent, *arguments)
    assert isinstance(found.exception, GateError)
    assert found.exception.exit_status == 2
    assert said in str(found.exception)
    assert "\n" not in str(found.exception)


def test_single_rows_are_one_line(make_run, tmp_path):
    folder = make_run("target-only", right_of(0.6), problems=8)
    with pytest.raises(GateError, match="there is no other row to decide on"):
        raise invoke(folder, "--against", "target-only").exception
    with pytest.raises(GateError, match="no row to decide on"):
        raise invoke(tmp_path / "nothing", "--against", "target-only").exception


def test_rows_of_other_questions_are_one_line(make_run):
    folder = make_run("target-only", right_of(0.6), problems=8)
    other = make_run(
        "atts",
        right_of(0.6),
        problems=8,
        asked=lambda doc: {"prompt": f"Another {doc}?", "answer": "0"},
    )
    with pytest.raises(GateError, match="no problem in common, or other conditions, with") as found:
        raise invoke(folder, other, "--against", "target-only").exception
    assert "\n" not in str(found.value)


def test_a_run_that_was_named_and_cannot_be_read_is_no_go(make_run, tmp_path):
    """It may be the one that is worse: the rows that are there would say GO."""
    folder = make_run("target-only", right_of(0.6), problems=60, repeats=4)
    other = make_run("atts", right_of(0.6), problems=60, repeats=4)
    given = (folder, other, "--against", "target-only", "--margin", "0.05")
    assert invoke(*given).exit_code == 0
    with pytest.raises(GateError, match="nothing: there is no such file or folder"):
        raise invoke(tmp_path / "nothing", *given).exception
