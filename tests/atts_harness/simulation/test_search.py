"""The best limits by search."""

import dataclasses
from array import array

import pytest

from atts_harness.settings import RunOptions
from atts_harness.simulation import plans
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.jobs import EngineFigures
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import SampleTally, Simulated
from atts_harness.simulation.search import best_limits, fewer_live
from atts_harness.simulation.tables import notes, shown_plan
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace

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


def test_a_value_that_may_help_is_tried_first_and_kept_only_if_it_does():
    def seconds(limits):  # no bound at all is slow, and best are 128
        too_many = abs(limits.get("live", 1 << 20).bit_length() - 8)
        return 1 + too_many + abs(limits["a"].bit_length() - 3)

    def tried(limits):
        return made(seconds(limits))

    found, run = best_limits({"a": 4}, made(seconds({"a": 4})), tried, {"live": 512})
    assert (found, run.makespan) == ({"a": 4, "live": 128}, 1)
    found, _ = best_limits({"a": 4}, made(1.0), lambda given: made(2.0), {"live": 512})
    assert found == {"a": 4}


def crowded(**given):
    """96 samples of at most 1,400 tokens each, and a KV cache of the target of 28,000."""
    turns = [TurnTrace(draft=300, score=0.1 * turn) for turn in range(3)]
    turns.append(TurnTrace(draft=300, score=0.2, draft_ends=True))
    samples = {
        doc: tuple(SampleTrace(doc, repeat, tuple(turns)) for repeat in range(16))
        for doc in range(6)
    }
    limits = ("draft_concurrency", "score_concurrency", "takeover_concurrency")
    return SimulationPlan(
        *(*PAIR, dataclasses.replace(gpu_of("h100"), memory=40.0), 3, RunTrace("six", samples)),
        split=(1, 2),
        settings={"rate": 0.0, **dict.fromkeys(limits, 4)},
        **given,
    )


def test_a_row_that_loses_its_prefix_cache_names_the_setting_and_a_value():
    (row,) = plan_rows(crowded(), ["atts"], {})
    assert row.recomputed > 0.25
    assert row.fewer_live == 16  # four times the slots
    (line,) = [line for line in notes(shown_plan(crowded()), [row]) if "prefix cache" in line]
    assert line.startswith(row.label)
    assert "live_samples=16" in line
    assert "--search" in line


def test_the_search_begins_with_that_value(monkeypatch):
    def first_hint(initial, run, tried, hints):
        assert "live_samples" not in initial
        return {**initial, **hints}, tried({**initial, **hints})

    monkeypatch.setattr(plans, "best_limits", first_hint)
    (row,) = plan_rows(crowded(search=True), ["atts"], {})
    assert row.limits["live_samples"] == 16
    assert row.recomputed < 0.25
    assert row.makespan < row.usual
    assert row.fewer_live == 0


@pytest.mark.parametrize(
    ("kv_tokens", "live", "lost", "fewer"),
    [
        (1 << 20, 0, 0.5, 16),  # four times the slots
        (9_000, 0, 0.5, 9),  # as many contexts of 1,000 tokens as have room
        (1_000, 0, 0.5, 4),  # no fewer than the slots
        (1 << 20, 64, 0.5, 16),
        (1 << 20, 16, 0.5, 0),  # bounded so already
        (1 << 20, 0, 0.1, 0),  # little is lost
    ],
)
def test_a_bound_of_live_samples_is_of_slots_and_room(kv_tokens, live, lost, fewer):
    figures = EngineFigures(
        requests=10,
        prompt_tokens=10_000,
        score_tokens=1_000,
        score_context_tokens=int(1_000 * lost),
    )
    tally = SampleTally(seconds=array("d", [1.0] * 100))
    run = Simulated(1.0, [], tally, {"target": figures}, {"target": kv_tokens})
    options = RunOptions(
        draft_concurrency=4, score_concurrency=2, takeover_concurrency=2, live_samples=live
    )
    assert fewer_live(options, run) == fewer


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
    assert "live_samples" not in found.limits  # 16 samples do not crowd each other out
    assert found.splits == {"1 + 2": pytest.approx(found.usual)}
