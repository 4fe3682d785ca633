"""Cells run one after the other; each is a small script here in place of lm-eval."""

import io
import json
import os
import re
import signal
import sqlite3
import threading
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from atts_harness import cli
from atts_harness.analysis.leaderboard import command
from atts_harness.comparing import runner, show
from atts_harness.errors import (
    SAMPLES_FAILED,
    RunDirError,
    RunInterruptedError,
    SettingError,
    UnknownSettingError,
)
from atts_harness.journal import schema

from .conftest import PLAN


def test_every_cell_runs_in_the_drawn_order(compare, status, cells, place):
    result = compare()
    assert result.exit_code == 0
    found = cells()
    assert list(found) == ["draft-only", "atts-rate=0.1", "atts-rate=0.2", "random-takeover"]
    assert {cell["state"] for cell in found.values()} == {"done"}
    by_place = sorted(found.values(), key=lambda cell: cell["place"])
    assert [cell["name"] for cell in by_place] == status()["order"]
    assert found["atts-rate=0.2"]["place"] < found["random-takeover"]["place"]
    cell = found["atts-rate=0.1"]
    assert (cell["metric"], cell["accuracy"], cell["exit_status"]) == ("pass@1", 0.5, 0)
    assert cell["results"] == "cells/sums/pair/atts-rate=0.1/results_2026.json"
    assert cell["caches"] == dict.fromkeys(
        ("draft", "target"), "nothing to clear: the model is loaded by the cell itself"
    )
    assert json.loads((place / "out" / cell["folder"] / "cell.json").read_text()) == cell
    # One line as a cell starts, one as it ends, and a table.
    lines = result.output.splitlines()
    assert lines[0] == f"[1/4] {by_place[0]['name']}: started"
    begin, end = f"[1/4] {by_place[0]['name']}: done, ", " s, pass@1 0.500"
    assert lines[1].startswith(begin)
    assert lines[1].endswith(end)
    assert any("│ random-takeover │ done" in line for line in lines)
    assert "\x1b" not in result.output


def test_a_cell_takes_its_rate_from_the_run_of_another(compare, place):
    compare()
    log = (place / "out/cells/sums/pair/random-takeover/log.txt").read_text()
    assert '"rate_of": "out/cells/sums/pair/atts-rate=0.2"' in log


def test_a_failed_cell_stops_no_other_but_those_that_need_it(compare, cells, place):
    result = compare(**{"atts_rate=0.2": "fail", "draft_only": "refuse"})
    assert result.exit_code == 1
    found = cells()
    assert {row: cell["state"] for row, cell in found.items()} == {
        "draft-only": "failed",
        "atts-rate=0.1": "done",
        "atts-rate=0.2": "failed",
        "random-takeover": "skipped",
    }
    assert found["atts-rate=0.2"]["cause"] == "ValueError: no such thing"
    assert found["draft-only"]["cause"] == "max_gen_toks=9: too many"
    assert (
        found["random-takeover"]["cause"]
        == "needs sums/pair/atts-rate=0.2, which is not done (failed)"
    )
    assert found["random-takeover"]["starts"] == 0
    assert "cells/sums/pair/draft-only/log.txt" in result.output.replace("\n", "")
    assert "1 done, 2 failed, 1 skipped" in result.output
    assert "to try again what is not done: " in result.output


def test_the_same_command_runs_what_is_not_done(compare, cells):
    compare(**{"atts_rate=0.2": "fail"})
    before = cells()
    result = compare()
    assert result.exit_code == 0
    after = cells()
    assert after["atts-rate=0.1"] == before["atts-rate=0.1"]
    assert (after["atts-rate=0.2"]["starts"], after["random-takeover"]["starts"]) == (2, 1)
    assert after["atts-rate=0.2"]["cause"] == ""
    assert "atts-rate=0.2: started, continued" in result.output
    assert "draft-only: started" not in result.output
    assert "started" not in compare().output


def test_a_cell_that_leaves_no_results_has_failed(compare, cells):
    assert compare(draft_only="nothing").exit_code == 1
    assert cells()["draft-only"]["cause"] == "it ended well and left no results file"


def test_a_cell_some_of_whose_samples_failed_is_done_and_says_so(compare, cells):
    result = compare(draft_only="some failed")
    assert result.exit_code == SAMPLES_FAILED  # as lm-eval's command has it
    cell = cells()["draft-only"]
    assert (cell["state"], cell["accuracy"], cell["exit_status"]) == ("done", 0.5, SAMPLES_FAILED)
    assert cell["cause"] == "1 of 4 samples failed for good (exit status 3)"
    assert "1 of 4 samples failed for good" in result.output
    assert "started" not in compare().output


@pytest.fixture
def signals(place):
    """Sends signals to this process once a cell is ready for them."""
    ended = threading.Event()
    threads = []

    def when_ready(row, *numbers):
        ready = place / "out/cells/sums/pair" / row / "ready"

        def send():
            while not ready.exists() and not ended.wait(0.01):
                pass
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.2)

        threads.append(threading.Thread(target=send))
        threads[-1].start()

    yield when_ready
    ended.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_winds_the_cell_down_and_names_the_command(
    compare, cells, signals, number, exit_status
):
    signals("atts-rate=0.2", number)
    with pytest.raises(RunInterruptedError, match="stopped; to continue: ") as raised:
        compare(**{"atts_rate=0.2": "wait"})
    assert raised.value.exit_status == exit_status
    found = cells()
    assert (found["atts-rate=0.2"]["state"], found["atts-rate=0.2"]["cause"]) == ("interrupted", "")
    assert found["random-takeover"]["state"] == "pending"
    assert compare().exit_code == 0
    assert {cell["state"] for cell in cells().values()} == {"done"}


def test_a_second_signal_ends_a_cell_that_does_not_listen(compare, cells, signals, monkeypatch):
    monkeypatch.setattr("atts_harness.comparing.local.GRACE_SECONDS", 0.2)
    signals("atts-rate=0.2", signal.SIGINT, signal.SIGINT)
    with pytest.raises(RunInterruptedError):
        compare(**{"atts_rate=0.2": "deaf"})
    assert cells()["atts-rate=0.2"]["state"] == "interrupted"


def test_a_changed_plan_is_refused_and_redone_when_asked(compare, cells, place):
    compare()
    (place / "plan.yaml").write_text(PLAN.replace("repeats: 2", "repeats: 3"))
    with pytest.raises(RunDirError, match=r"task\.repeats was 2, now 3"):
        compare()
    with pytest.raises(UnknownSettingError, match=r"--redo: .*'sums/pair/atts-rate=0.3'"):
        compare("--redo", "sums/pair/atts-rate=0.3")
    result = compare("--redo", "*/draft-only", "--redo", "*/atts*")
    # ... with the cell that takes its rate from one of them.
    assert cells()["random-takeover"]["starts"] == 1
    assert {cell["identity"]["task"]["repeats"] for cell in cells().values()} == {3}
    assert "started afresh, old files kept in out.aside: sums/pair/atts-rate=0.1" in result.output
    assert (place / "out.aside/sums/pair/random-takeover.1/results_2026.json").exists()


def test_a_limit_that_grows_is_taken_up_where_the_cells_ended(compare, cells, place):
    without = PLAN[: PLAN.index("  - {strategy: random")]
    (place / "plan.yaml").write_text(without)
    compare()
    (place / "plan.yaml").write_text(without.replace("limit: 2", "limit: 3"))
    result = compare()
    assert result.output.count(": started, continued") == 3
    assert {cell["identity"]["task"]["limit"] for cell in cells().values()} == {3}
    assert {(cell["state"], cell["starts"]) for cell in cells().values()} == {("done", 2)}
    assert not (place / "out.aside").exists()
    compare()
    assert {cell["starts"] for cell in cells().values()} == {2}


def test_what_the_report_needs_is_asked_before_the_first_cell(place, monkeypatch):
    monkeypatch.setattr(command, "PAGE_NEEDS", ("no_such_package",))
    shown = CliRunner().invoke(cli.build_app(), ["compare", "plan.yaml"])
    assert isinstance(shown.exception, SettingError)
    assert re.search(r"no_such_package.*--no-report", str(shown.exception))
    assert not (place / "out").exists()


def test_a_plan_with_new_points_runs_only_those(compare, cells, place):
    compare()
    (place / "plan.yaml").write_text(PLAN.replace("[0.1, 0.2]", "[0.2, 0.4]"))
    result = compare()
    assert result.output.count(": started") == 1
    assert list(cells()) == ["draft-only", "atts-rate=0.2", "atts-rate=0.4", "random-takeover"]
    assert "no longer in the plan, their folders kept: sums/pair/atts-rate=0.1" in result.output


def test_a_task_that_nobody_has(compare, place):
    (place / "plan.yaml").write_text(PLAN.replace("tasks: sums", "tasks: [sums, prodcts]"))
    with pytest.raises(UnknownSettingError, match=r"plan.yaml, line 5: unknown task .*products"):
        compare()
    assert not (place / "out").exists()


def test_cells_begin_with_a_calibration_that_they_share(compare, cells, banks, place):
    assert compare().exit_code == 0
    assert len(banks()) == 1
    first, second = (cells()[f"atts-rate={rate}"] for rate in (0.1, 0.2))
    assert first["calibration"]["bank"] == second["calibration"]["bank"]
    assert {first["calibration"]["seconds"] > 0, second["calibration"]["seconds"] > 0} == {
        True,
        False,
    }
    log = (place / "out" / first["log"]).read_text()
    assert f'"bank": "out/{first["calibration"]["bank"]}"' in log
    assert compare().exit_code == 0
    assert len(banks()) == 1


def test_a_calibration_that_fails_is_tried_once(compare, cells, banks, place):
    (place / "broken").touch()
    assert compare().exit_code == 1
    assert len(banks()) == 1
    assert {row: cell["cause"] for row, cell in cells().items() if cell["state"] == "failed"} == {
        f"atts-rate={rate}": "calibration: no scores" for rate in (0.1, 0.2)
    }
    (place / "broken").unlink()
    assert compare().exit_code == 0


def test_what_the_caches_were_is_said_under_the_table(compare, monkeypatch):
    told = {"target": "not cleared: no way is known for this engine"}
    monkeypatch.setattr(runner, "clear_caches", lambda settings, beside: told)
    shown = compare().output
    assert f"prefix caches were not cleared between cells: target: {told['target']}" in shown


def test_rounds_of_repeats_until_known(compare, cells, place, monkeypatch):
    """Each round is the same cell in the same folder with more repeats; its journal goes on."""
    (place / "plan.yaml").write_text("until: {half_width: 0.03, cap: 16}\n" + PLAN)
    asked = []

    def rounds(folder, until):
        asked.append((folder.name, until.cap))
        mine = sum(name == folder.name for name, _ in asked)
        return ({1: 4, 2: 8}.get(mine), f"{mine} rounds")

    monkeypatch.setattr("atts_harness.comparing.runner.next_round", rounds)
    result = compare()
    assert result.exit_code == 0, result.output
    for cell in cells().values():
        assert (cell["state"], cell["repeats"], cell["precision"]) == ("done", 8, "3 rounds")
        assert cell["starts"] == 1
    assert len(asked) == 3 * len(cells())
    assert "3 rounds" in result.output


def test_a_plan_that_asks_for_the_impossible_is_one_line(compare, place):
    (place / "plan.yaml").write_text("until: {half_width: 0}\n" + PLAN)
    with pytest.raises(SettingError, match="half_width"):
        compare()


def test_a_cell_that_runs_is_not_silent(compare, place, monkeypatch):
    monkeypatch.setattr(show, "LINES_SECONDS", 0.0)
    folder = place / "out" / "cells" / "sums" / "pair" / "draft-only"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / schema.JOURNAL, isolation_level=None) as connection:
        schema.create(connection)
        for doc in range(4):
            row = schema.sealed(("sums", doc, 0, "prompt", 8, None))
            connection.execute(schema.INSERT["planned"], row)
    result = compare()
    assert result.exit_code == 0
    assert "sums/pair/draft-only: 0/4 samples" in result.output.splitlines()


def test_lines_into_a_pipe_are_text(capsys):
    show.Show(1).say("a/b/c: died: \x1b[2J [bold]no[/bold]")
    assert capsys.readouterr().out == "atts: a/b/c: died: ␛[2J [bold]no[/bold]\n"


def test_a_terminal_shows_what_runs_below_the_lines():
    out = io.StringIO()
    shown = show.Show(3, console=Console(file=out, force_terminal=True, width=60))
    with shown.watching():
        assert not shown.wants_progress  # it has only just begun
        shown.progress(["a/b/c: 1/4 samples", "a/b/d: 0/4 samples"])
        shown.say("something else")
    text = out.getvalue()
    assert "a/b/c: 1/4 samples" in text
    assert text.index("something else") > text.index("a/b/d: 0/4 samples")
    assert text.endswith("\x1b[?25h\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K")  # and takes them away
