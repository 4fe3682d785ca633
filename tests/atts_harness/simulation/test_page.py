"""A plan's page: rows, notes and the figures of its sweeps."""

import dataclasses
import re

import pytest

from atts_harness.analysis.leaderboard.columns import columns_of
from atts_harness.records import CallKey, CallRecord, SampleId
from atts_harness.simulation.columns import leaderboard_rows, plan_columns
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.page import write_plan
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.sweeps import figures_of
from atts_harness.simulation.tables import notes, shown_plan, tables
from atts_harness.simulation.timeline import timeline, timeline_rows, waiting

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
    write_plan(shown_plan(plan), rows, ["A line <b>of its own</b>."], path, [timeline(plan, rows)])
    page = path.read_text()
    assert page.count("<figure ") == 5
    assert "synchronous repeats=4" in page
    assert "A line &lt;b&gt;of its own&lt;/b&gt;." in page
    assert not re.search(r"(src|href)=.http|url\(http|<script src|<link|@import", page)


def test_figures_that_a_report_has_are_columns_of_the_report(rows):
    board = leaderboard_rows(rows, "a pair", "a task")
    columns = {
        column.title: column
        for column in plan_columns(dict(zip(board, rows, strict=True)), list(board.values()))
    }
    of_the_report = {column.title: column for column in columns_of(list(board.values()))}
    shared = [title for title in columns if title in of_the_report]
    assert {"makespan s", "p50 s", "p95 s", "samples/s", "realised", "target computed"} <= {*shared}
    assert {columns[title].about for title in shared} <= {
        column.about for column in of_the_report.values()
    }
    for id_, row in zip(board, rows, strict=True):
        assert columns["makespan s"].value(board[id_]) == row.makespan
        written = sum(row.engines[role].written for role in ("draft", "target"))
        titles = ("draft written", "target written")
        assert sum(columns[title].value(board[id_]) for title in titles) * row.samples == (
            pytest.approx(written)
        )
    barrier, free = (next(id_ for id_ in board if board[id_].label == name) for name in FOUR)
    speedup = columns["× synchronous"]
    assert speedup.value(board[barrier]) == 1
    four = {row.label: row.makespan for row in rows}
    assert speedup.value(board[free]) == pytest.approx(four[FOUR[0]] / four[FOUR[1]])


FOUR = ("synchronous repeats=4", "atts repeats=4")
AFFECTED = {"range s", "makespan s", "p95 s", "samples/s", "$ in all", "GPU-hours"}


def test_more_repeats_than_recorded_are_bounds_wherever_the_longest_sample_counts(plan):
    priced = dataclasses.replace(plan, price=2.0)
    recorded, more = plan_rows(priced, ["atts"], {"repeats": ["4", "8"]})
    board = leaderboard_rows([recorded, more], "a pair", "a task")
    of = dict(zip(board, [recorded, more], strict=True))
    columns = plan_columns(of, list(board.values()))
    cells = [{column.title: column.show(row) for column in columns} for row in board.values()]
    marked = [{title for title, text in row.items() if text[0] in "≥≤"} for row in cells]
    assert marked == [set(), AFFECTED]
    assert cells[1]["samples/s"].startswith("≤")

    long, taken = tables(shown_plan(priced), [recorded, more])
    for table, headings in (
        (long, ("makespan", "range", "samples/s", "p95")),
        (taken, ("GPU h", "$")),
    ):
        for column in table.columns:
            first, second = column.cells
            bound = str(column.header) in headings
            assert not first.startswith(("≥", "≤"))
            assert second.startswith(("≥", "≤")) == bound, column.header
    said = notes(shown_plan(priced), [recorded, more])
    assert any("≥ is a lower bound" in line and "atts repeats=8" in line for line in said)
    figures = {figure.name: figure for figure in figures_of([recorded, more])}
    values = {name: [line[2] for line in figure.body] for name, figure in figures.items()}
    assert values["cost-repeats"][1].endswith("(lower bound)")
    assert figures["cost-repeats"].missing
    assert "bound" not in "".join(values["memory-repeats"] + values["cost-repeats"][:1])


def test_a_question_that_stands_for_several_is_recorded_too_rarely_as_well(plan):
    def bound(problems, repeats):
        more = dataclasses.replace(plan, problems=problems)
        (row,) = plan_rows(more, ["target-only"], {"repeats": [repeats]})
        return row.lower_bound

    assert not bound(2, "4")
    assert bound(3, "4")
    assert not bound(4, "2")


def test_a_timeline_shows_what_samples_wait_for(plan, rows):
    figure = timeline(plan, rows)
    barrier, free = figure.body
    assert [barrier[0], free[0]] == [*FOUR]  # of those with most samples
    assert barrier[1] == free[1] == "4"
    assert float(barrier[3]) > float(free[3])
    assert float(barrier[2]) >= float(free[2])
    assert figure.paint is not None


def test_waiting_is_the_gaps_between_calls_that_may_overlap():
    def call(repeat, turn, sent, done):
        key = CallKey(SampleId("t", 0, repeat), "draft", "draft", turn)
        return CallRecord(key=key, request_hash="", sent=sent, done=done)

    calls = [call(0, 0, 0, 2), call(0, 1, 1, 5), call(0, 2, 6, 7), call(1, 0, 3, 4)]
    assert waiting(calls) == (1 + 0) / 2


def test_rows_of_a_timeline_are_one_with_a_barrier_and_one_without(rows):
    assert [row.label for row in timeline_rows(rows)] == [*FOUR]
    alone = [row for row in rows if row.strategy == "atts"]
    assert [row.label for row in timeline_rows(alone)] == ["atts repeats=4"]
