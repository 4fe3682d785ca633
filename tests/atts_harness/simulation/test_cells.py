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
from atts_harness.simulation.cells import Ground, cell_notes, cell_rows, planned
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.plans import SimulationPlan, plan_row
from atts_harness.simulation.published import published_trace

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
    rows = cell_rows(cells, sizes(cells), Ground(gpu_of("h100"), 3), lambda cell, problems: TRACE)
    names = ["atts-rate=0.2", "target-only", "random-takeover"]
    assert list(rows) == [f"atts_math500/mine/{name}" for name in names]
    assert [row.samples for row in rows.values()] == [8, 8, 8]
    assert [row.split for row in rows.values()] == ["1 + 2", "2", "1 + 2"]
    assert all(len(row.splits) == 1 for row in rows.values())  # no other one was tried
    coin = rows["atts_math500/mine/random-takeover"]
    assert 0 < coin.takeover_rate < 0.6  # the nominal rate of the row that it names
    said = " ".join(cell_notes(cells, sizes(cells), Ground(gpu_of("h100"), 3), rows))
    assert "rank online here, and calibrations are not in the times: atts_math500/mine/atts" in said
    assert "3 cells that are run again for their times are not shown" in said


def test_a_dry_run_simulates_a_part_and_says_so(cells):
    whole = sizes(cells, problems=2000)
    parts = planned((gpu_of("h100"), 3), "both", cells[:1], whole)
    said = [part for part in parts if isinstance(part, str)]
    assert any("atts_math500/mine/atts-rate=0.2 512 of 4,000" in line for line in said)
    assert any("in proportion" in line and "p95 are those of the part" in line for line in said)
    assert any("compared on about 128 samples" in line for line in said)


def test_cells_that_ask_the_same_are_simulated_once(cells, monkeypatch):
    asked = []

    def counted(plan, strategy, point):
        asked.append(strategy)
        return plan_row(plan, strategy, point)

    monkeypatch.setattr(simulated_cells, "plan_row", counted)
    other = dataclasses.replace(cells[1], row="again")
    twins = [cells[1], other]
    rows = cell_rows(twins, sizes(twins), Ground(gpu_of("h100"), 3), lambda cell, problems: TRACE)
    assert list(rows) == [cells[1].name, other.name]
    assert asked == [cells[1].strategy]
    first, again = rows.values()
    assert first.makespan == again.makespan


def test_splits_compared_on_a_part_are_in_proportion_to_the_whole():
    def row(**given):
        plan = SimulationPlan(*(DRAFT, TARGET, gpu_of("h100"), 3, published_trace(16, 4)), **given)
        return plan_row(plan, "atts", {"repeats": "4", "rate": "0.4"})

    whole, part = row(), row(most_compared=16)
    assert part.samples == whole.samples == 64
    assert part.makespan == whole.splits[part.split]  # the split is simulated with all samples
    assert part.makespan == pytest.approx(part.splits[part.split])
    assert set(part.splits) == set(whole.splits)
    assert part.low < part.makespan < part.high
    assert row(most_compared=64) == whole


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


def test_too_few_gpus_for_the_pair_are_one_line(cells):
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
