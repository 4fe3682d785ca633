"""Files of measured costs, and plans that use them."""

import json
import math

import pytest
from typer.testing import CliRunner

from atts_harness import cli
from atts_harness.errors import SettingError
from atts_harness.simulation.costfile import EngineCosts, read_costs, role_costs, write_costs
from atts_harness.simulation.costs import Measured, gpu_of
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.tables import notes, shown_plan

COSTS = EngineCosts(Measured(0.01, 0.001, 1e-5, 0.0), 0.002, "vllm 0.32.0", "tiny", 0.03)
PAIR = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B")


def test_what_is_written_is_read(tmp_path):
    write_costs(COSTS, tmp_path / "costs.json")
    assert read_costs(tmp_path / "costs.json") == COSTS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": -1.0}, "not a file of costs"),
        ({"step": "fast"}, "not a file of costs"),
        ({"step": math.nan}, "not a file of costs"),
        ({"pair": math.inf}, "not a file of costs"),
        ({"step": 0.0, "sequence": 0.0}, "costs nothing"),
        ({"version": 9}, "version 9"),
        ({"version": 2}, "measure it again"),
        ({"mixed_steps": None}, "not a file of costs"),
        ({"format": "atts-bank"}, "not a file of costs"),
        ({"speed": 1}, "not a file of costs"),
    ],
)
def test_other_files_are_one_line(tmp_path, change, words):
    path = tmp_path / "costs.json"
    write_costs(COSTS, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(SettingError, match=words) as caught:
        read_costs(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["costs.json", "judge=costs.json", "draft"])
def test_a_role_is_named(text):
    with pytest.raises(SettingError, match="draft=FILE or target=FILE"):
        role_costs([text])


def test_a_role_has_one_file(tmp_path):
    write_costs(COSTS, tmp_path / "costs.json")
    given = f"draft={tmp_path / 'costs.json'}"
    assert role_costs([given]) == {"draft": COSTS}
    with pytest.raises(SettingError, match="the second file of the draft"):
        role_costs([given, given])


def test_a_plan_takes_measured_costs_in_place_of_the_roofline():
    def row(**measured):
        plan = SimulationPlan(
            *(*PAIR, gpu_of("h100"), 3, published_trace(questions=2, repeats=2)),
            split=(1, 2),
            measured=measured,
        )
        (made,) = plan_rows(plan, ["target-only"], {})
        return made

    slow = EngineCosts(Measured(0.05, 0.0, 0.0, 0.0))
    assert row(target=slow).makespan > row().makespan
    known = row(target=slow)
    assert (known.low, known.high) == (known.makespan, known.makespan)
    later = row(target=EngineCosts(slow.cost, latency=5.0))
    assert later.makespan == pytest.approx(known.makespan + 5.0, rel=0.05)


def test_samples_that_would_fail_are_said_to():
    plan = SimulationPlan(
        *(*PAIR, gpu_of("h100"), 3, published_trace(questions=2, repeats=2)),
        split=(1, 2),
        measured={"target": EngineCosts(Measured(1.0, 0.0, 0.0, 0.0))},  # a token a second
        settings={"timeout": 600, "retries": 0},
    )
    (made,) = plan_rows(plan, ["target-only"], {})
    assert made.failed == 3
    assert "no reply within 600 s" in made.failure
    (note,) = [line for line in notes(shown_plan(plan), [made]) if "FAIL" in line]
    assert "3 of 4 samples would FAIL" in note


def test_the_command_says_what_was_measured(tmp_path):
    path = tmp_path / "costs.json"
    write_costs(COSTS, path)
    arguments = ["plan", "--draft", PAIR[0], "--target", PAIR[1], "--gpus", "h100:3"]
    arguments += ["--gpu-split", "1+2", "--problems", "2", "--strategy", "target-only"]
    told = CliRunner().invoke(cli.build_app(), [*arguments, "--cost", f"target={path}"])
    assert told.exit_code == 0, told.output
    assert "target: costs measured on vllm 0.32.0, tiny." in told.output
    assert "roofline" in told.output
