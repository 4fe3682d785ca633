"""Places for engine sets: several pairs, lost machines, cells beside each other."""

import pytest

from atts_harness import plugins
from atts_harness.errors import (
    RunInterruptedError,
    UnknownSettingError,
)
from atts_harness.hookspecs import hookimpl
from atts_harness.launcher import Launcher, Needs

from .conftest import CALIBRATED, PLAN


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
    with pytest.raises(UnknownSettingError, match=r"launcher: unknown launcher 'locl'.*local"):
        compare()
    assert not (place / "out").exists()
