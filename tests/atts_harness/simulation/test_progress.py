"""Progress of a plan on standard error."""

import io
import time

import pytest

from atts_harness.simulation import progress as progress_module
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.progress import SimulationProgress, show_simulation
from atts_harness.simulation.published import published_trace

PAIR = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def at_once(monkeypatch):
    for name in ("FIRST_SECONDS", "LIVE_SECONDS", "LINE_SECONDS"):
        monkeypatch.setattr(progress_module, name, 0.001)


def wait_for(stream, words):
    for _ in range(2000):
        if words in stream.getvalue():
            return
        time.sleep(0.005)
    pytest.fail(f"never said: {words}")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_what_is_simulated_is_said_while_it_takes_long(at_once, stream):
    progress = SimulationProgress(rows=3)
    with show_simulation(progress, stream):
        progress.begin_row("one")
        progress.begin_row("a\x1b[2J row")
        progress.begin_run(1000)
        progress.done = 7
        wait_for(stream, "simulating 2 of 3: ")
        wait_for(stream, "run 1: 7 of 1,000 samples")
    assert "\x1b[2J" not in stream.getvalue()


def test_what_is_quick_says_nothing(monkeypatch):
    monkeypatch.setattr(progress_module, "FIRST_SECONDS", 600.0)
    for stream in (io.StringIO(), Terminal()):
        with show_simulation(SimulationProgress(), stream):
            pass
        assert stream.getvalue() == ""


def test_rows_runs_and_samples_are_counted(monkeypatch):
    lines = []

    class Counted(SimulationProgress):
        def begin_run(self, samples):
            super().begin_run(samples)
            lines.append(self.line())

    monkeypatch.setattr("atts_harness.simulation.plans.SimulationProgress", Counted)
    plan = SimulationPlan(*PAIR, gpu_of("h100"), 3, published_trace(2, 2), split=(1, 2))
    plan_rows(plan, ["draft-only", "target-only"], {"repeats": ["2"]})
    assert lines[0] == "simulating 1 of 2: draft-only repeats=2, run 1: 0 of 4 samples"
    assert lines[-1] == "simulating 2 of 2: target-only repeats=2, run 3: 0 of 4 samples"
