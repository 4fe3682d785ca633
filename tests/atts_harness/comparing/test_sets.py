"""Which pairs get engine sets, and what a set needs."""

import pytest

from atts_harness.comparing.cells import Cell
from atts_harness.comparing.needs import needs_of
from atts_harness.comparing.plan import Plan, Task
from atts_harness.comparing.sets import EngineSets
from atts_harness.launcher import Needs


class Rooms:
    """A launcher of so many places; the last one is not ready."""

    def __init__(self, ready, pending=0):
        self.left = [True] * ready + [False] * pending

    def place(self, needs):
        return Room(self.left.pop(0)) if self.left else None


class Room:
    name = ""

    def __init__(self, ready):
        self.is_ready = ready
        self.gone = None
        self.given_back = False

    def ready(self):
        return self.is_ready

    def lost(self):
        return self.gone

    def give_back(self):
        self.given_back = True


def cells(**pairs):
    return [
        Cell(Task(task="sums"), pair, f"{pair}{number}", "atts", served={"preset": "tiny"})
        for pair, count in pairs.items()
        for number in range(count)
    ]


@pytest.fixture
def sets(tmp_path):
    def sets(launcher, *needs):
        return EngineSets(needs, launcher, tmp_path, lambda text: None)

    return sets


def pairs_of(found):
    return "".join(one.pair for one in found)


def test_every_pair_first_then_the_one_with_most_to_do(sets):
    found = sets(Rooms(6), Needs("a"), Needs("b"), Needs("c"))
    found.grow(cells(a=2, b=9, c=4))
    assert pairs_of(found) == "abcbbb"


def test_no_more_sets_than_cells_can_use(sets):
    found = sets(Rooms(9), Needs("a"), Needs("b", beside=2), Needs("c", shared=True))
    found.grow(cells(a=2, b=3, c=5))
    assert pairs_of(found) == "abcba"


def test_one_place_is_waited_for_at_a_time(sets):
    rooms = Rooms(1, pending=2)
    found = sets(rooms, Needs("a"), Needs("b"))
    left = cells(a=3, b=3)
    found.grow(left)
    found.grow(left)
    assert pairs_of(found) == "ab"
    assert found.free("a") is not None
    assert found.free("b") is None
    for one in found:
        one.place.is_ready = True
    found.grow(left)
    assert pairs_of(found) == "aba"


def test_sets_without_a_cell_are_given_back_and_lost_ones_are_replaced(sets):
    found = sets(Rooms(3), Needs("a"), Needs("b"))
    found.grow(cells(a=2, b=1))
    first, other, second = found
    first.running.add("x")
    found.shrink(cells(a=1))
    assert list(found) == [first, second]
    assert other.place.given_back
    second.place.gone = first.place.gone = "gone"
    assert found.free("a") is None
    found.shrink(cells(a=1))
    assert list(found) == [first]  # until its cell has been seen to end
    assert second.place.given_back
    found.stop()
    assert first.place.given_back
    assert not list(found)


def test_a_set_that_waits_for_its_place_goes_first(sets):
    found = sets(Rooms(1, pending=1), Needs("a"))
    found.grow(cells(a=2))
    ready, waiting = found
    found.shrink(cells(a=1))
    assert list(found) == [ready]
    assert waiting.place.given_back


@pytest.mark.parametrize(
    ("served", "needs"),
    [
        ({"backend": "vllm", "draft": "a", "target": "b", "target_devices": "1+2"},
         Needs("pair", {"draft": None, "target": "1+2"})),
        ({"backend": "vllm", "draft": "a", "target": "b", "devices": "cpu"},
         Needs("pair", {"draft": "cpu", "target": "cpu"})),
        ({"backend": "vllm", "draft": "a", "target": "b", "draft_url": "http://h:1"},
         Needs("pair", {"target": None}, shared=True)),
        ({"backend": "openai", "url": "http://h:1", "draft": "a", "target": "b"},
         Needs("pair", shared=True)),
        ({"preset": "tiny"}, Needs("pair", device="auto")),
        ({"preset": "tiny", "device": "cpu"}, Needs("pair", device="cpu")),
        ({"preset": "tiny", "device": "cpu", "target_device": "cuda:0"},
         Needs("pair", device="cuda:0")),
        ({"backend": "vllm", "draft_backend": "transformers", "draft": "a", "target": "b"},
         Needs("pair", {"target": None}, device="auto")),
    ],
)  # fmt: skip
def test_what_a_set_needs(served, needs):
    for package in ("atts_vllm", "atts_openai", "atts_transformers"):
        pytest.importorskip(package)
    plan = Plan(name="n", out="o", pairs={}, tasks=[], strategies=[])
    cell = Cell(Task(task="sums"), "pair", "row", "atts", served=served)
    assert needs_of([cell], plan) == [needs]


def test_untimed_cells_run_beside_each_other():
    kind = {"name": "n", "out": "o", "pairs": {}, "tasks": [], "strategies": []}
    assert [
        Plan(**kind, **more).beside
        for more in ({}, {"parallel": 3}, {"timing": False}, {"timing": False, "parallel": 2})
    ] == [1, 3, 4, 2]
