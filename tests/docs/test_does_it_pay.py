"""What docs/does-it-pay.md, signals.md and claims.md say follows from the figures that are kept."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from atts_harness.presets import preset_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.published import published_trace
from benchmarks.pays import measured, signals, simulated
from benchmarks.pays.claims import claims_parts
from benchmarks.pays.frontier import at_budget, frontier, verdict
from benchmarks.pays.kinds import OPEN, Kind
from benchmarks.pays.marked import put
from benchmarks.pays.pairs import PAIRS
from benchmarks.pays.regions import region, simulated_parts
from benchmarks.pays.verdicts import measured_parts

DOCS = Path(__file__).parents[2] / "docs"
PROBLEMS = 40


def config(name, right, cost, votes=1):
    """A method that is right on so many of the problems, at one cost everywhere."""
    shares = [1.0] * right + [0.0] * (PROBLEMS - right)
    return measured.Config(
        name, votes, 4, shares, [float(cost)] * PROBLEMS, [2.0 * cost] * PROBLEMS, None, 1.0
    )


TARGET = config("target-only", 40, 100)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ([config("a", 40, 50)], "cheaper"),
        ([config("a", 40, 150)], "dearer"),
        ([config("a", 20, 50), config("a", 40, 150)], "dearer"),
        ([config("a", 20, 50), config("a", 30, 60)], "never, here"),
        ([config("a", 20, 150)], "never, here"),
        ([config("a", 38, 50)], "not known with so few problems"),
    ],
)
def test_a_verdict_is_of_the_cheapest_point_that_is_as_good(own, words):
    assert verdict(own, TARGET, "target").words == words


def test_between_two_points_a_lot_decides_so_that_the_cost_is_the_budget():
    own = [config("low", 10, 40), config("high", 30, 80)]
    assert at_budget(own, 39, "target") is None
    assert sum(at_budget(own, 40, "target")) == 10
    assert sum(at_budget(own, 60, "target")) == pytest.approx(20)
    assert sum(at_budget(own, 1000, "target")) == 30


def test_a_frontier_leaves_out_what_something_cheaper_beats():
    points = [config("a", 10, 10), config("b", 8, 20), config("c", 30, 30), config("d", 30, 40)]
    assert [one.name for one in frontier(points, "flops")] == ["a", "c"]


CHEAP, DEAR, CLOSE = (0.8, 0.7, 0.9), (1.2, 1.1, 1.3), (1.0, 0.9, 1.1)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([CHEAP] * 4, "**cheaper from 1 sample on**"),
        ([DEAR, CLOSE, CHEAP, CHEAP], "**cheaper from 16 samples on**; too close at 4"),
        ([CHEAP, CHEAP, CHEAP, DEAR], "**cheaper up to 16 samples**"),
        ([DEAR, CHEAP, DEAR, CHEAP], "**cheaper at 4, 64 samples**"),
        ([DEAR] * 4, "**never, here**"),
        ([DEAR, CLOSE, DEAR, CLOSE], "**nowhere for certain**; too close at 4 and 64"),
    ],
)
def test_a_region_says_where_the_whole_range_is_below_1(ranges, words):
    assert region(ranges) == words


def test_the_pair_that_is_not_simulated_has_the_shapes_of_one_that_is():
    """docs/does-it-pay.md says so of Llama-3.1-8B with s1.1-32B."""
    sizes = [
        [
            replace(shape_of(preset_settings({"preset": name})[role]), name="", window=0)
            for role in ("draft", "target")
        ]
        for name in ("llama-8b-s1.1-32b", simulated.RECORDED.preset)
    ]
    assert sizes[0] == sizes[1]


@pytest.fixture(scope="module")
def tried():
    """The target alone with limits, 2 questions, on every pair and GPU type."""
    trace = simulated.some(published_trace(20, 4), 2)
    kinds = [Kind("target-only", "target-only", OPEN, (1, 4), limits=(1, 2, 64))]
    return trace, kinds, [row for own in simulated.Rows(trace, []).made(kinds) for row in own]


def test_limits_are_tried_that_are_below_the_number_of_samples(tried):
    first = [row for row in tried[2] if (row.pair, row.gpu) == (PAIRS[0].title, "h100")]
    assert [(row.samples, row.live) for row in first] == [(1, 0), (1, 1), (4, 0), (4, 1), (4, 2)]
    best = simulated.SimulatedRows("", first, []).best(PAIRS[0].title, "h100", "target-only", 4)
    assert best.gpu_seconds == min(row.gpu_seconds for row in first if row.samples == 4)
    assert best.low < best.makespan < best.high


def test_pairs_with_the_same_target_share_the_rows_of_the_target_alone(tried):
    own, other = ([r for r in tried[2] if r.pair == pair.title] for pair in PAIRS[:2])
    assert [row.makespan for row in own] == [row.makespan for row in other]
    assert sum(row.cpu for row in own) > 0 == sum(row.cpu for row in other)


def test_rows_that_are_there_are_not_made_again(tried, monkeypatch):
    trace, kinds, rows = tried
    monkeypatch.setattr(simulated, "run", None)
    again = [row for own in simulated.Rows(trace, rows).made(kinds) for row in own]
    assert again == rows


def test_only_marked_parts_of_a_page_are_replaced(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n")
    put(page, {"a": "new \\1"})
    assert page.read_text() == "before\n<!-- a: begin -->\nnew \\1\n<!-- a: end -->\nafter\n"
    with pytest.raises(SystemExit, match="no part b"):
        put(page, {"b": "x"})


def test_questions_are_spread_over_their_lengths():
    trace = published_trace(20, 4)
    chosen = simulated.some(trace, 4)
    means = {doc: sum(s.tokens for s in own) for doc, own in trace.samples.items()}
    ranks = sorted(sorted(means, key=means.get).index(doc) for doc in chosen.samples)
    assert ranks == [2, 7, 12, 17]


def test_endless_samples_have_all_their_turns():
    lasting = simulated.endless(published_trace(3, 4), 7)
    for own in lasting.samples.values():
        for sample in own:
            assert len(sample.turns) == 7
            assert not any(turn.draft_ends or turn.takeover_ends for turn in sample.turns)


@pytest.mark.parametrize("name", ["does-it-pay", "claims", "signals"])
def test_the_page_is_what_the_command_makes_of_the_kept_figures(name):
    run, made = measured.load(), simulated.load()
    parts = {
        "does-it-pay": lambda: measured_parts(run) | simulated_parts(made),
        "claims": lambda: claims_parts(run, made),
        "signals": lambda: signals.parts(signals.load(), run),
    }[name]()
    text = (DOCS / f"{name}.md").read_text()
    shown = dict(re.findall(r"<!-- (.+?): begin -->\n(.*?)\n<!-- \1: end -->", text, re.DOTALL))
    assert shown == {part: words.strip() for part, words in parts.items()}
