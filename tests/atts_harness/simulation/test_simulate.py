"""Runs in simulated time: the strategies on simulated engines, from a trace."""

import gc

import pytest

from atts_harness.errors import SettingError
from atts_harness.records import SampleRecord
from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import Measured, Roofline, Step, gpu_of
from atts_harness.simulation.deployment import deployments, place, roofline
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import groups_of, simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from atts_harness.simulation.words import WordTokenizer

DRAFT, TARGET = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"
PAIR = {"draft": shape_of(DRAFT), "target": shape_of(TARGET)}
H100 = gpu_of("h100")
SECOND_A_STEP = Measured(step=1.0, sequence=0.0, prompt_token=0.0, pair=0.0)


def settings(strategy="atts", **given):
    models = {"backend": "simulated", "draft": DRAFT, "target": TARGET}
    return parse_settings({"strategy": strategy, **models, **given})


@pytest.fixture(scope="module")
def deployment():
    return place(PAIR, H100, {"draft": 1, "target": 2})


def small_trace():
    turns = (
        TurnTrace(draft=100, score=0.2),
        TurnTrace(draft=50, score=0.9, takeover=30),
        TurnTrace(draft=20, score=0.3, draft_ends=True),
    )
    samples = {doc: tuple(SampleTrace(doc, r, turns) for r in range(2)) for doc in range(3)}
    return RunTrace("traced", samples, {0: 40, 1: 41, 2: 42}, chunk=500)


def test_a_recorded_repeat_is_replayed_turn_by_turn(deployment):
    calls = []
    made = simulate(
        settings(rate=0.0, calibration="online"),
        small_trace(),
        deployment,
        repeats=2,
        observe=calls.append,
    )
    drafts = [c for c in calls if c.key.kind == "draft"]
    scores = [c for c in calls if c.key.kind == "score"]
    assert len(drafts) == len(scores) == 18
    assert sorted(c.usage.completion_tokens for c in drafts) == [20] * 6 + [50] * 6 + [100] * 6
    assert {r.finish for r in made.records} == {"answer"}
    assert made.figures["draft"].written_tokens == 6 * 170
    assert made.figures["target"].written_tokens == 0
    scored = {round(d.nonconformity, 9) for r in made.records for d in r.decisions}
    assert scored == {0.2, 0.9, 0.3}


def test_time_is_that_of_the_slowest_chain_of_steps(deployment):
    one = {doc: own[:1] for doc, own in small_trace().samples.items() if doc == 0}
    made = simulate(
        settings(rate=0.0, calibration="online"),
        RunTrace("traced", one, {0: 40}, chunk=500),
        deployment,
        repeats=1,
        pricing=lambda placement: SECOND_A_STEP,
    )
    # A draft of n tokens takes n steps, its score one; every step is a second.
    assert made.makespan == pytest.approx(170 + 3)


def test_equal_seeds_give_equal_runs_and_a_control_writes_the_same_drafts(deployment):
    trace = published_trace(questions=4, repeats=4, seed=2)

    def run(strategy, **given):
        return simulate(settings(strategy, **given), trace, deployment, repeats=4)

    first, again = run("atts", rate=0.4), run("atts", rate=0.4)
    assert first.makespan == again.makespan
    assert first.tally == again.tally
    alone = run("draft-only")
    assert alone.tally.takeovers == 0


def test_the_barrier_of_the_synchronous_control_costs_time(deployment):
    trace = published_trace(questions=6, repeats=8)
    run = {
        name: simulate(settings(name, rate=0.4), trace, deployment, repeats=8).makespan
        for name in ("atts", "synchronous")
    }
    assert run["synchronous"] > run["atts"]


def test_no_engine_is_quicker_than_its_roofline(deployment):
    trace = published_trace(questions=4, repeats=4)
    faster = []

    class Watched:
        def __init__(self, placement):
            self.model = roofline(placement)

        def seconds(self, step):
            cost = self.model.seconds(step)
            if cost.total < self.model.least_seconds(step):
                faster.append(step)
            return cost

    simulate(settings(rate=0.4), trace, deployment, repeats=4, pricing=Watched)
    assert not faster


def test_a_small_kv_cache_makes_a_run_slower_and_is_named():
    trace = published_trace(questions=4, repeats=16)
    plan = SimulationPlan(
        draft=DRAFT, target=TARGET, gpu=gpu_of("a100"), devices=2, trace=trace, split=(1, 1)
    )
    (row,) = plan_rows(plan, ["target-only"], {})
    assert row.bound == "KV cache of the target"
    assert row.engines["target"].kv_peak > 0.9
    assert row.engines["target"].preemptions > 0


def test_a_plan_has_a_row_for_each_strategy_and_point():
    plan = SimulationPlan(
        *(DRAFT, TARGET, H100, 3, published_trace(questions=2, repeats=2)),
        split=(1, 2),
        price=2.0,
    )
    rows = plan_rows(plan, ["atts", "target-only"], {"repeats": ["1", "4"], "rate": ["0.2"]})
    assert [row.label for row in rows] == [
        "atts repeats=1 rate=0.2",
        "atts repeats=4 rate=0.2",
        "target-only repeats=1",
        "target-only repeats=4",
    ]
    assert [row.samples for row in rows] == [2, 8, 2, 8]
    assert all(row.low <= row.makespan <= row.high for row in rows)
    assert [row.lower_bound for row in rows] == [False, True, False, True]
    for row in rows:
        assert row.dollars == pytest.approx(2.0 * row.gpu_hours)
        assert row.split == ("1 + 2" if row.strategy == "atts" else "2")


def test_the_best_split_is_the_quickest_of_all():
    trace = published_trace(questions=2, repeats=4)
    plan = SimulationPlan(*(DRAFT, TARGET, H100, 3, trace))
    (best,) = plan_rows(plan, ["atts"], {"rate": ["0.4"]})
    splits = [
        plan_rows(
            SimulationPlan(*(DRAFT, TARGET, H100, 3, trace), split=split),
            ["atts"],
            {"rate": ["0.4"]},
        )
        for split in ((1, 2), (2, 1), (1, 1))
    ]
    assert best.makespan <= min(row.makespan for (row,) in splits)


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(SettingError, match=r"the target needs 2 of them \(61 GiB"):
        deployments(PAIR, gpu_of("l40s"), 1, least_tokens=8192)
    assert deployments(PAIR, gpu_of("h200"), 1, least_tokens=8192)[0].name == "1 shared"


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.78),
        (DRAFT, 8.03),
        ("Qwen/Qwen2.5-7B-Instruct", 7.62),
        (TARGET, 32.8),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70.6),
    ],
)
def test_the_published_models_have_as_many_weights_as_their_cards_say(model, billions):
    assert shape_of(model).parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_the_embedded_model_is_read_from_its_folder():
    from atts_tiny.paths import draft_path

    assert 1e4 < shape_of(str(draft_path()), "float32").parameters < 1e7


def test_a_roofline_is_bound_by_memory_alone_and_by_arithmetic_in_large_prompts():
    cost = Roofline(H100, PAIR["target"], 2)
    alone = cost.seconds(Step(decodes=1, context=100, pairs=100, rows=1))
    prompt = cost.seconds(Step(prefills=1, prompt_tokens=8192, context=8192, pairs=4e7, rows=1))
    assert alone.memory > alone.compute
    assert prompt.compute > prompt.memory


def test_without_records_the_same_is_counted(deployment):
    trace = published_trace(questions=3, repeats=4)

    def run(keep):
        options = settings(rate=0.4, live_samples=6)
        return simulate(options, trace, deployment, repeats=4, keep=keep)

    kept, counted = run(keep=True), run(keep=False)
    assert counted.records == []
    assert len(kept.records) == kept.samples == counted.samples == 12
    assert counted.tally == kept.tally
    assert counted.makespan == kept.makespan
    seconds = [record.ended - record.started for record in kept.records]
    assert sorted(kept.tally.seconds) == sorted(seconds)
    decisions = [d for record in kept.records for d in record.decisions if d.judged]
    assert kept.tally.judged == len(decisions)
    assert kept.tally.takeovers == sum(d.takeover for d in decisions)


def test_groups_are_made_when_they_are_asked_for():
    trace = published_trace(questions=2, repeats=4)
    groups = groups_of(settings(rate=0.4), trace, WordTokenizer(), repeats=3, problems=5)
    assert len(groups) == 5
    assert [group.problem.doc for group in groups] == [0, 1, 2, 3, 4]
    assert [sample.id.repeat for sample in groups[-1].samples] == [0, 1, 2]
    assert [group.problem.doc for group in groups[1:3]] == [1, 2]
    texts = {group.problem.prompt.messages[0].content for group in groups}
    assert len(texts) == 5
    with pytest.raises(IndexError):
        groups[5]


def test_records_of_ended_samples_are_let_go(deployment):
    trace = published_trace(questions=10, repeats=4)

    def most_at_the_end(keep):
        counts = []

        def observe(call):
            if call.key.sample.doc == 9 and call.key.turn == 0:
                gc.collect()
                counts.append(sum(isinstance(o, SampleRecord) for o in gc.get_objects()))

        options = settings(rate=0.4, live_samples=4)
        simulate(options, trace, deployment, repeats=4, observe=observe, keep=keep)
        return max(counts)

    assert most_at_the_end(keep=True) > 30
    assert most_at_the_end(keep=False) < 5
