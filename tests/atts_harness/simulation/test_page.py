"""A plan's page: rows, notes and the figures of its sweeps."""

import re

import pytest

from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.page import figures_of, write_plan
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.tables import shown_plan

PAIR = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B")


@pytest.fixture(scope="module")
def plan():
    return SimulationPlan(
        *PAIR, gpu_of("h100"), 3, published_trace(questions=2, repeats=4), split=(1, 2)
    )


@pytest.fixture(scope="module")
def rows(plan):
    return plan_rows(plan, ["synchronous", "atts"], {"repeats": ["1", "4"]})


def test_a_sweep_makes_four_figures_with_every_value_in_their_tables(rows):
    figures = {figure.name: figure for figure in figures_of(rows)}
    assert list(figures) == ["memory-repeats", "cost-repeats", "intensity-repeats", "speed-repeats"]
    for figure in figures.values():
        assert [line[:2] for line in figure.body] == [
            *[("synchronous", "1"), ("synchronous", "4"), ("atts", "1"), ("atts", "4")]
        ]
    speed = {line[:2]: float(line[2]) for line in figures["speed-repeats"].body}
    assert speed["synchronous", "1"] == speed["synchronous", "4"] == 1
    four = {row.strategy: row.makespan for row in rows if row.point["repeats"] == "4"}
    assert speed["atts", "4"] == pytest.approx(four["synchronous"] / four["atts"], rel=1e-3)
    memory = {line[:2]: float(line[2]) for line in figures["memory-repeats"].body}
    assert memory["atts", "4"] > memory["atts", "1"] > 70  # 15 and 61 GiB are weights


def test_without_a_sweep_or_a_base_the_figure_says_what_is_missing(rows):
    (words,) = figures_of([rows[0]])
    assert "--sweep repeats=1,4,16" in words.missing[0]
    speed = figures_of([row for row in rows if row.strategy == "atts"])[-1]
    assert speed.paint is None
    assert "--strategy synchronous" in speed.missing[0]


def test_the_page_loads_nothing_and_says_all(plan, rows, tmp_path):
    path = tmp_path / "plan.html"
    write_plan(shown_plan(plan), rows, ["A line <b>of its own</b>."], path)
    page = path.read_text()
    assert page.count("<svg") == 4
    assert "synchronous repeats=4" in page
    assert "A line &lt;b&gt;of its own&lt;/b&gt;." in page
    assert not re.search(r"(src|href)=.http|url\(http|<script|<link|@import", page)
