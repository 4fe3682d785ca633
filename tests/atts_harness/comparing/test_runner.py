"""Cells run one after the other; each is a small script here in place of lm-eval."""

import io
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from atts_harness import cli, plugins
from atts_harness.analysis.leaderboard import command
from atts_harness.comparing import local, runner, show
from atts_harness.errors import (
    SAMPLES_FAILED,
    RunDirError,
    RunInterruptedError,
    SettingError,
    UnknownSettingError,
)
from atts_harness.framework import EvalFramework, EvaluationOutcome
from atts_harness.hookspecs import hookimpl
from atts_harness.journal import schema
from atts_harness.launcher import Launcher, Needs

PLAN = """\
out: out
limit: 2
repeats: 2
seed: 1
tasks: sums
strategies:
  - draft-only
  - {strategy: atts, points: {rate: [0.1, 0.2]}}
  - {strategy: random-takeover, settings: {rate_of: atts-rate=0.2}}
"""
# Does what the file says under its row: writes results, fails, waits for a signal, ...
CELL = """
import json, pathlib, signal, sys, time
if sys.argv[1] == "calibrate":
    with open("calibrated", "a") as file: print(sys.argv[2], file=file)
    if pathlib.Path("broken").exists(): sys.exit("atts: error: no scores")
    pathlib.Path(sys.argv[2]).write_text("bank")
    sys.exit()
folder, row, behaviour = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
told = json.loads(pathlib.Path(behaviour).read_text()).get(row, "done")
folder.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGINT, lambda *_: sys.exit("atts: error: SIGINT: stopped"))
if told in ("wait", "deaf"):
    if told == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "ready").touch()
    time.sleep(60)
print("working")
if told == "fail":
    print("Traceback (most recent call last):", "  File x", "ValueError: no such thing", sep="\\n")
    print("tail")
    sys.exit(1)
if told == "refuse":
    sys.exit("lm_eval: error: max_gen_toks=9: too many")
if told in ("done", "some failed"):
    figures = {"results": {"sums": {"pass@1,all": 0.5}}}
    (folder / "results_2026.json").write_text(json.dumps(figures))
if told == "some failed":
    print("lm_eval: 1 of 4 samples failed for good (exit status 3)", file=sys.stderr)
    sys.exit(3)
"""


class Sums(EvalFramework):
    """A plugin with an evaluation framework of one task."""

    name = "sums"
    packages = ()

    @hookimpl
    def atts_frameworks(self):
        return [self]

    def tasks(self, wanted, include_path):
        return ["sums", "products"]

    def command(self, asked, folder):
        return [str(folder), folder.name, "behaviour.json", json.dumps(asked.settings)]

    def outcome(self, folder):
        found = sorted(folder.glob("results_*.json"))
        return EvaluationOutcome(found[-1], "pass@1", 0.5) if found else None


@pytest.fixture
def place(pair, tmp_path, monkeypatch):
    """A folder with a plan and its task, where every cell is the script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "ATTS", (sys.executable, "-S", "-c", CELL))
    plugins.manager().register(Sums())
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "behaviour.json").write_text("{}")
    return tmp_path


@pytest.fixture
def compare(place):
    """Runs `atts compare`; cells do as told, by row."""
    app = cli.build_app()

    def compare(*args, **told):
        behaviour = {row.replace("_", "-"): what for row, what in told.items()}
        (place / "behaviour.json").write_text(json.dumps(behaviour))
        result = CliRunner().invoke(app, ["compare", "plan.yaml", "--no-report", *args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return compare


@pytest.fixture
def status(place):
    return lambda: json.loads((place / "out" / "compare.json").read_text())


@pytest.fixture
def cells(status):
    return lambda: {cell["row"]: cell for cell in status()["cells"]}


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
    assert lines[1] == f"[1/4] {by_place[0]['name']}: done, 0 s, pass@1 0.500"
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
    with pytest.raises(UnknownSettingError, match=r"plan.yaml, line 5: task: .*products"):
        compare()
    assert not (place / "out").exists()


CALIBRATED = PLAN.replace(
    "points: {rate: [0.1, 0.2]}", "points: {rate: [0.1, 0.2]}, calibrate: {turns: 1}"
)


@pytest.fixture
def banks(place, monkeypatch):
    """Calibrations that do as told; they leave a line each."""
    (place / "plan.yaml").write_text(CALIBRATED)
    monkeypatch.setattr(
        "atts_harness.comparing.calibrations.calibrate_command",
        lambda cell, plan, bank, servers: ["calibrate", str(bank)],
    )
    return lambda: (place / "calibrated").read_text().split()


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


class FakeJob:
    """A command that ends when it is told."""

    def __init__(self, command, place):
        self.command = command
        self.place = place
        self.status = None
        self.calibrates = command.arguments[0] == "calibrate"

    def poll(self):
        return self.status

    def wind_down(self):
        self.status = 130

    kill = wind_down


class FakePlace:
    """A machine that is ready, and may be lost."""

    def __init__(self, launcher, pair, number):
        self.launcher = launcher
        self.pair = pair
        self.number = number
        self.name = f"node {number}"
        self.free = False
        self.gone = None

    def ready(self):
        return True

    def lost(self):
        return self.gone

    def start(self, command):
        assert not self.free
        return self.launcher.start(command, self)

    def give_back(self):
        self.free = True


class FakeLauncher(Launcher):
    """A plugin with a launcher of so many places, whose jobs end one look after they began.

    Attributes:
        seen: names of the cells that ran together, at every start.
        places: that were asked for, in order.
        dying: numbers of places whose machine is lost at the first look at them.
    """

    name = "fake"

    def __init__(self):
        self.jobs = []
        self.seen = []
        self.places = []
        self.room = 2
        self.dying = ()
        self.told = []

    def begin(self, folder, needs, say, address=""):
        self.told.append(("begin", str(folder), needs, address))

    def place(self, needs):
        if sum(place.free is False for place in self.places) >= self.room:
            return None
        self.places.append(FakePlace(self, needs.pair, len(self.places)))
        return self.places[-1]

    def state(self):
        return f"{self.room} places"

    def end(self):
        self.told.append(("end",))

    @hookimpl
    def atts_launchers(self):
        return [self]

    def start(self, command, place):
        self.jobs.append(FakeJob(command, place))
        self.seen.append([self.cell(j) for j in self.jobs if j.poll() is None])
        return self.jobs[-1]

    def cell(self, job):
        folder = job.command.folder
        return f"{job.command.pair}/{folder.name}"

    def look(self, seconds):
        """In place of the wait between two looks at the jobs."""
        for job in self.jobs:
            if job.status is None and job.place.number in self.dying:
                job.place.gone = "node 7 is gone"
                job.status = -9
            elif job.status is None:
                job.command.folder.mkdir(parents=True, exist_ok=True)
                made = "bank.json" if job.calibrates else "results_1.json"
                (job.command.folder / made).write_text("{}")
                job.status = 0


@pytest.fixture
def fake(place, monkeypatch):
    found = FakeLauncher()
    plugins.manager().register(found)
    monkeypatch.setattr("atts_harness.comparing.runner.time.sleep", found.look)
    return found


PAIRS = """
launcher: fake
shuffle: false
pairs: {one: {preset: pair}, two: {preset: pair}, three: {preset: pair}}
"""


def test_a_cluster_that_is_gone_ends_the_comparison_and_it_goes_on(
    compare, status, place, fake, monkeypatch
):
    (place / "plan.yaml").write_text(PAIRS + PLAN)
    gone = "fake: the cluster is gone"
    monkeypatch.setattr(fake, "lost", lambda: gone if len(fake.jobs) >= 2 else None)
    with pytest.raises(RunInterruptedError, match=f"^{gone}; to continue: ") as caught:
        compare()
    assert caught.value.exit_status == 1
    assert len(fake.jobs) == 2  # nothing new was started
    states = sorted(cell["state"] for cell in status()["cells"])
    assert states == ["interrupted"] * 2 + ["pending"] * 10
    monkeypatch.setattr(fake, "lost", lambda: None)
    assert compare().exit_code == 0
    assert {cell["state"] for cell in status()["cells"]} == {"done"}


def test_a_launcher_of_a_plugin_runs_several_pairs(compare, cells, place, fake):
    (place / "plan.yaml").write_text(PAIRS + PLAN)
    assert compare("--launcher", "fake=there:1").exit_code == 0
    together = fake.seen
    assert max(map(len, together)) == 2
    started = [name[-1] for name in together]
    assert len(started) == 12
    # Each pair gets a place before any gets a second one, and what is left goes to the last.
    assert [one.pair for one in fake.places] == ["one", "two", "three", "three"]
    assert started.index("three/draft-only") > started.index("one/random-takeover")
    for one in fake.places:  # one cell on a set at a time, so that times are its own
        assert one.free
    command = next(j.command for j in fake.jobs if fake.cell(j) == "one/random-takeover")
    assert command.reads == (place.relative_to(place) / "out/cells/sums/one/atts-rate=0.2",)
    assert command.beside == 1
    assert command.run_dir == command.folder
    (_, folder, needs, address), end = fake.told
    assert (folder, address, end) == ("out", "there:1", ("end",))
    assert needs == [Needs(pair, device="auto") for pair in ("one", "two", "three")]


def test_one_pair_gets_the_places_that_there_are(compare, cells, place, fake):
    (place / "plan.yaml").write_text("launcher: fake\n" + PLAN)
    fake.room = 3
    assert compare().exit_code == 0
    assert [one.pair for one in fake.places] == ["pair"] * 3
    assert max(map(len, fake.seen)) == 3
    assert fake.seen[-1] == ["pair/random-takeover"]  # it waits for the one that it needs
    assert {cell["machine"] for cell in cells().values()} == {"node 0", "node 1", "node 2"}


def test_a_cell_whose_machine_is_lost_goes_on_elsewhere(compare, cells, place, fake):
    (place / "plan.yaml").write_text("launcher: fake\nshuffle: false\n" + PLAN)
    fake.room, fake.dying = 1, (0, 1)
    result = compare()
    assert result.exit_code == 0
    assert cells()["draft-only"]["starts"] == 3
    assert cells()["draft-only"]["machine"] == "node 2"
    assert [cell["starts"] for cell in cells().values()] == [3, 1, 1, 1]
    lines = result.output.splitlines()
    assert lines[1] == "sums/pair/draft-only: node 7 is gone; it goes on elsewhere"
    assert lines[2] == "[1/4] sums/pair/draft-only: started, continued"
    assert all(one.free for one in fake.places)


def test_a_cell_that_loses_every_machine_fails_in_the_end(compare, cells, place, fake):
    (place / "plan.yaml").write_text("launcher: fake\nshuffle: false\n" + PLAN)
    fake.room, fake.dying = 1, range(6)
    assert compare().exit_code == 1
    found = cells()["draft-only"]
    assert found["cause"] == "lost its machine 6 times, the last time: node 7 is gone"
    assert {cell["state"] for row, cell in cells().items() if row != "draft-only"} == {"done"}


def test_a_dead_machine_that_is_given_out_again_is_one_loss(
    compare, cells, place, fake, monkeypatch
):
    (place / "plan.yaml").write_text("launcher: fake\nshuffle: false\n" + PLAN)
    fake.room, fake.dying = 1, range(8)
    make = fake.place

    def same(needs):
        made = make(needs)
        if made is not None and made.number in fake.dying:
            made.name = "the dead one"
        return made

    monkeypatch.setattr(fake, "place", same)
    assert compare().exit_code == 0
    assert cells()["draft-only"]["starts"] == 9


def test_a_calibration_that_loses_its_machine_is_made_elsewhere(compare, cells, place, fake):
    (place / "plan.yaml").write_text("launcher: fake\n" + CALIBRATED)
    fake.room, fake.dying = 2, (0,)
    assert compare().exit_code == 0
    first, second = (job for job in fake.jobs if job.calibrates)
    assert first.place.number == 0 != second.place.number
    assert first.command.arguments[1] == second.command.arguments[1]
    assert str(first.command.run_dir) == f"{first.command.arguments[1]}.run"


def test_cells_beside_each_other_are_said_to_be(compare, cells, place, fake):
    text = PAIRS.replace("fake", "fake\nparallel: 3").replace(
        ", two: {preset: pair}, three: {preset: pair}", ""
    )
    (place / "plan.yaml").write_text(text + PLAN)
    result = compare()
    assert result.exit_code == 0
    started = [name[-1] for name in fake.seen]
    assert max(map(len, fake.seen)) == 3
    # What takes its rate from another cell waits for it.
    waited = next(names for names in fake.seen if names[-1] == "one/random-takeover")
    assert waited == ["one/random-takeover"]
    assert started[-1] == "one/random-takeover"
    assert {cell["parallel"] for cell in cells().values()} == {3}
    assert set(cells()["atts-rate=0.1"]["caches"].values()) == {
        "nothing to clear: the model is loaded by the cell itself"
    }
    assert (
        "3 cells ran at a time: seconds and latencies show the load of all of them" in result.output
    )


def test_cells_beside_each_other_share_a_calibration(compare, banks, place):
    (place / "plan.yaml").write_text("parallel: 2\n" + CALIBRATED)
    assert compare().exit_code == 0
    assert len(banks()) == 1
    (place / "calibrated").unlink()
    (place / "broken").touch()
    (place / "out").rename(place / "before")
    assert compare().exit_code == 1
    assert len(banks()) == 1


def test_a_launcher_that_nobody_has(compare, place):
    (place / "plan.yaml").write_text("launcher: locl\n" + PLAN)
    with pytest.raises(UnknownSettingError, match=r"launcher: unknown setting 'locl'.*local"):
        compare()
    assert not (place / "out").exists()


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
