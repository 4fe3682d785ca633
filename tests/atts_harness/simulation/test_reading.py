"""Runs as traces of a plan: what is read of them, and what is refused in one line."""

import pytest
import typer.testing

from atts_harness import plugins
from atts_harness.cli import build_app
from atts_harness.errors import AttsError, SettingError
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.simulation.reading import read_trace
from atts_harness.testing import mock_plugin
from atts_harness.testing.mock_runs import make_groups

TASK = "mock"
TURNS = {"turns": 4, "draft_tokens": 8, "target_tokens": 8}


def run_of(strategy, folder, **settings):
    """A run on mock engines, left in a folder."""
    models = {"backend": "mock", "draft": "d", "target": "t", "progress": "off"}
    manager = plugins.manager()
    manager.register(mock_plugin)
    try:
        given = {**models, **settings, "strategy": strategy, "run_dir": str(folder)}
        with Harness(parse_settings(given)) as harness:
            samples = make_groups(3, 2, harness.strategy({}, {"task": TASK}), task=TASK)
            harness.run(samples, show=False)
    finally:
        manager.unregister(mock_plugin)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "atts": run_of("atts", folder / "atts", **TURNS, rate=0.5),
        "draft-only": run_of("draft-only", folder / "draft-only", **TURNS),
        "target-only": run_of("target-only", folder / "target-only"),
    }


def refused(*arguments):
    """What `atts plan` says before it simulates anything."""
    pair = ("--pair", "r1-llama-8b-qwq-32b", "--gpus", "h100:3")
    result = typer.testing.CliRunner().invoke(
        build_app(), ["plan", *pair, *map(str, arguments)], standalone_mode=False
    )
    assert isinstance(result.exception, SettingError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_a_run_is_read_turn_by_turn(runs):
    trace = read_trace(runs["atts"])
    assert (trace.task, trace.repeats, len(trace.samples)) == (TASK, 2, 3)
    assert trace.rate == 0.5
    assert trace.chunk == 8
    assert not trace.estimated
    assert all(0 < turn.draft <= 8 for turn in trace.turns())
    assert any(turn.score is not None for turn in trace.turns())
    trace.require_decisions(runs["atts"])


def test_a_run_of_another_task_is_refused_with_the_tasks_it_has(runs):
    words = refused("--trace", runs["atts"], "--task", "atts_aime24")
    assert f"--trace {runs['atts']}: it has no task 'atts_aime24', by --task: mock" in words


@pytest.mark.parametrize("strategy", ["draft-only", "target-only"])
def test_a_run_without_decisions_is_refused_with_what_would_do(runs, strategy):
    words = refused("--trace", runs[strategy])
    assert words.startswith(f"--trace {runs[strategy]}: ")
    assert "such as atts" in words


def test_a_folder_of_another_shape_is_refused(tmp_path):
    with pytest.raises(AttsError, match=str(tmp_path)):
        read_trace(tmp_path)


def test_a_published_file_without_turns_is_refused(tmp_path):
    file = tmp_path / "traces.jsonl"
    file.write_text("{}\n")
    with pytest.raises(AttsError, match=r"traces\.jsonl"):
        read_trace(file)
