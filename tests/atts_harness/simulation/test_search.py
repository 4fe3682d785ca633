"""The best limits by search."""

import pytest

from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import SampleTally, Simulated
from atts_harness.simulation.search import best_limits

PAIR = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B")


def made(makespan, failed=0):
    return Simulated(makespan, [], SampleTally(failed=failed), {}, {})


def test_the_optimum_of_a_known_function_is_found():
    def seconds(limits):  # best at a = 128 and b = 8
        return 1 + abs(limits["a"].bit_length() - 8) + 3 * abs(limits["b"].bit_length() - 4)

    start = {"a": 16, "b": 32}
    found, run = best_limits(start, made(seconds(start)), lambda given: made(seconds(given)))
    assert found == {"a": 128, "b": 8}
    assert run.makespan == 1
    assert start == {"a": 16, "b": 32}


def test_limits_that_help_only_together_are_moved_together():
    start = {"a": 16, "b": 16}
    found, _ = best_limits(
        start, made(1.0), lambda given: made(1.0 if len(set(given.values())) > 1 else 0.5)
    )
    assert len(set(found.values())) == 1
    assert found != start


def test_what_saves_nothing_is_left_alone():
    start = {"a": 64, "b": 32}
    found, run = best_limits(start, made(100.0), lambda given: made(99.9))
    assert (found, run.makespan) == (start, 100.0)


def test_a_run_that_loses_samples_is_no_quicker_one():
    found, _ = best_limits({"a": 4}, made(10.0), lambda given: made(1.0, failed=1))
    assert found == {"a": 4}


def test_a_plan_names_its_limits_and_every_split():
    trace = published_trace(questions=4, repeats=4)

    def row(**given):
        plan = SimulationPlan(*PAIR, gpu_of("h100"), 3, trace, search=True, **given)
        (made,) = plan_rows(plan, ["atts"], {"score_concurrency": ["1"]})
        return made

    found = row(split=(1, 2), settings={"draft_concurrency": 1})
    assert found.makespan < 0.6 * found.usual
    assert found.limits["draft_concurrency"] > 1
    assert "score_concurrency" not in found.limits  # the sweep says it
    assert found.splits == {"1 + 2": pytest.approx(found.usual)}
