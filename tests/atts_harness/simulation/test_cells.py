"""Plan files of `atts compare` in simulated time."""

import dataclasses
import json

import pytest
import typer.testing

from atts_harness.cli import build_app
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from atts_harness.comparing.sizes import Size
from atts_harness.errors import SettingError
from atts_harness.simulation import cells as simulated_cells
from atts_harness.simulation import reading
from atts_harness.simulation import simulations as simulated_runs
from atts_harness.simulation.cells import Ground, cell_notes, cell_rows, planned, shown_rows
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.plans import SimulationPlan, plan_row
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.timeline import timelines

DRAFT, TARGET = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"
PLAN = """
name: both
tasks: atts_math500
limit: 4
repeats: 2
times: 2
pairs: {mine: {preset: r1-llama-8b-qwq-32b, target_devices: 1+2, draft_devices: 0}}
strategies:
  - strategy: atts
    points: {rate: [0.2]}
    calibrate: {questions: 3, repeats: 2, turns: 1}
  - target-only
  - {strategy: random-takeover, settings: {rate_of: atts-rate=0.2}}
"""
TRACE = published_trace(questions=4, repeats=4)


@pytest.fixture
def cells(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    return expand(read_plan(str(tmp_path / "plan.yaml")), installed=False)


def sizes(cells, problems=4):
    return {cell.name: Size(problems, 2 * problems, 2 * problems * 4096) for cell in cells}


def test_each_cell_is_a_row_on_the_devices_of_its_pair(cells):
    made = cell_rows(cells, sizes(cells), Ground(gpu_of("h100"), 3), lambda cell, problems: TRACE)
    rows = shown_rows(made)
    names = ["atts-rate=0.2", "target-only", "random-takeover"]
    assert list(made) == [f"atts_math500/mine/{name}" for name in names]
    assert [row.label for row in rows] == list(made)
    assert [row.samples for row in rows] == [8, 8, 8]
    assert [row.split for row in rows] == ["1 + 2", "2", "1 + 2"]
    assert all(len(row.splits) == 1 for row in rows)  # no other one was tried
    assert 0 < rows[-1].takeover_rate < 0.6  # the nominal rate of the row that it names
    said = " ".join(cell_notes(cells, sizes(cells), made))
    assert "rank online here, and calibrations are not in the times: atts_math500/mine/atts" in said
    assert "3 cells that are run again for their times are not shown" in said


def test_a_dry_run_simulates_a_part_and_says_so(cells, monkeypatch):
    monkeypatch.setattr(simulated_cells, "DRY_SAMPLES", 24)
    monkeypatch.setattr(simulated_cells, "COMPARED", 8)
    whole = sizes(cells, problems=2000)
    parts = planned((gpu_of("h100"), 3), "both", cells[:1], whole)
    said = [part for part in parts if isinstance(part, str)]
    assert any("atts_math500/mine/atts-rate=0.2 24 of 4,000" in line for line in said)
    assert any("in proportion" in line and "p95 are those of the part" in line for line in said)
    assert any("compared on about 8 samples" in line for line in said)


def test_cells_that_ask_the_same_are_simulated_once(cells, monkeypatch):
    asked = count_runs(monkeypatch)
    other = dataclasses.replace(cells[1], row="again")
    twins = [cells[1], other]
    rows = cell_rows(twins, sizes(twins), Ground(gpu_of("h100"), 3), lambda cell, problems: TRACE)
    assert list(rows) == [cells[1].name, other.name]
    assert len(asked) == 3  # one split, and the two ends of the range
    first, again = rows.values()
    assert first.row.makespan == again.row.makespan


def count_runs(monkeypatch):
    asked = []
    simulate = simulated_runs.simulate

    def counted(*arguments, **given):
        asked.append(given["problems"])
        return simulate(*arguments, **given)

    monkeypatch.setattr(simulated_runs, "simulate", counted)
    return asked


def test_tasks_of_different_sizes_compare_splits_on_the_same_runs(cells, monkeypatch):
    asked = count_runs(monkeypatch)
    monkeypatch.setattr(simulated_cells, "COMPARED", 8)
    one, other = cells[1], dataclasses.replace(cells[1], row="other")
    many = {one.name: Size(10, 20, 20 * 4096), other.name: Size(12, 24, 24 * 4096)}
    planned((gpu_of("h100"), 3), "both", [one, other], many)
    assert asked == [4, 10, 4, 4, 12]  # splits, the whole cell, the ends of the range


def test_each_pair_of_a_file_has_a_timeline(cells):
    pairs = [
        dataclasses.replace(cell, pair=pair) for pair in ("mine", "other") for cell in cells[:2]
    ]
    made = cell_rows(pairs, sizes(pairs), Ground(gpu_of("h100"), 3), lambda cell, problems: TRACE)
    figures = timelines(made.values())
    assert [figure.name for figure in figures] == ["timeline-1", "timeline-2"]
    assert [figure.title.rpartition(": ")[2] for figure in figures] == ["mine", "other"]
    assert [line[:2] for line in figures[0].body] == [("atts-rate=0.2", "2")]
    (alone,) = timelines(list(made.values())[:2])
    assert alone.name == "timeline"
    assert alone.body == figures[0].body


def test_a_timeline_is_of_a_task_that_has_both_strategies(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "pairs: r1-llama-8b-qwq-32b\ntasks: [atts_math500, atts_aime24]\nrepeats: 2\n"
        "strategies: [atts, synchronous]\n"
    )
    cells = expand(read_plan(str(file)), installed=False)
    del cells[1]  # synchronous on the first task
    given = (sizes(cells), Ground(gpu_of("h100"), 3, split=(1, 2)), lambda cell, problems: TRACE)
    (figure,) = timelines(cell_rows(cells, *given).values())
    assert [line[0] for line in figure.body] == ["synchronous", "atts"]


def test_splits_compared_on_a_part_are_in_proportion_to_the_whole():
    plan = SimulationPlan(*(DRAFT, TARGET, gpu_of("h100"), 3, published_trace(16, 4)))
    few = dataclasses.replace(plan, trace=published_trace(4, 4))
    whole, part = (
        plan_row(asked, "atts", {"repeats": "4", "rate": "0.4"})
        for asked in (plan, dataclasses.replace(plan, compared=few))
    )
    assert part.samples == whole.samples == 64
    assert part.makespan == whole.splits[part.split]  # the split is simulated with all samples
    assert part.makespan == pytest.approx(part.splits[part.split])
    assert set(part.splits) == set(whole.splits)
    assert part.low < part.makespan < part.high


def test_a_part_of_a_trace_is_spread_over_its_questions():
    assert list(published_trace(30).spread(5, 30).samples) == [0, 6, 12, 18, 24]
    assert list(published_trace(30).spread(5, 10).samples) == [0, 2, 4, 6, 8]
    assert list(published_trace(3).spread(5, 100).samples) == [0, 1, 2]


def test_a_dry_run_of_more_repeats_than_recorded_is_a_lower_bound(cells):
    many = {cells[1].name: Size(2, 40, 40 * 4096)}
    parts = planned((gpu_of("h100"), 3), "both", cells[1:2], many)
    assert parts[-1].startswith("all cells one after the other: at least ")
    few = planned((gpu_of("h100"), 3), "both", cells[1:2], sizes(cells[1:2]))
    assert "at least" not in few[-1]


def test_too_few_gpus_for_the_pair_are_one_line_before_anything_is_simulated(cells, monkeypatch):
    monkeypatch.delattr(simulated_runs, "simulate")
    with pytest.raises(
        SettingError, match=r"mine/atts-rate=0\.2: --gpus: the pair asks for 1 \+ 2"
    ):
        cell_rows(cells, sizes(cells), Ground(gpu_of("h100"), 2), lambda cell, problems: TRACE)


def run(*arguments):
    result = typer.testing.CliRunner().invoke(build_app(), ["plan", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_takes_a_plan_file(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "pairs: tiny\ntasks: atts_chain\nlimit: 2\nrepeats: 2\n"
        "strategies: [draft-only, {strategy: atts, points: {rate: [0.2]}}]\n"
    )
    rows = json.loads(run(file, "--gpus", "l40s:2", "--gpu-split", "1+1", "--json"))
    assert [row["strategy"] for row in rows] == [
        "atts_chain/tiny/draft-only",
        "atts_chain/tiny/atts-rate=0.2",
    ]
    assert [row["samples"] for row in rows] == [4, 4]
    for given, words in [
        (("--strategy", "atts"), "--strategy: the plan file says it"),
        (("--sweep", "rate=.2"), "--sweep: the plan file says it"),
    ]:
        with pytest.raises(SettingError, match=words):
            run(file, "--gpus", "l40s:2", *given)


def test_a_run_gives_each_cell_its_own_task(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(reading, "read_trace", lambda path, task: asked.append(task) or TRACE)
    file = tmp_path / "plan.yaml"
    file.write_text(
        "pairs: tiny\ntasks: atts_chain\nlimit: 2\nrepeats: 2\nstrategies: [draft-only]\n"
    )
    given = (file, "--gpus", "l40s:1", "--trace", tmp_path)
    run(*given)
    run(*given, "--task", "mine")
    assert asked == ["atts_chain", "mine"]
