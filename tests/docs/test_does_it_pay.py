"""What docs/does-it-pay.md, signals.md and claims.md say follows from the figures that are kept."""

import re
from pathlib import Path

import pytest

from atts_harness.simulation.published import published_trace
from benchmarks.pays import measured, signals, simulated
from benchmarks.pays.claims import claims_parts
from benchmarks.pays.frontier import at_budget, frontier, verdict
from benchmarks.pays.marked import put
from benchmarks.pays.verdicts import measured_parts, simulated_parts

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
