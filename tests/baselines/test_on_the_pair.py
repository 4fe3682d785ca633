"""Every strategy on the embedded pair through lm-eval, and every branch of those that have some."""

import importlib
import tomllib
from pathlib import Path

import atts_tasks
import pytest
from atts_lm_eval.model import model_class
from atts_tasks.chain.problems import make_problems
from atts_tiny.paths import draft_path, target_path
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.backend import Sampling
from atts_harness.discovery import Discovery
from atts_harness.hookspecs import PROJECT
from atts_harness.records import SampleId
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.strategy import Group, Problem, Sample
from atts_harness.transcript import Message, Prompt

ROOT = Path(__file__).parents[2]
TASK = "atts_chain_easy"

pytestmark = pytest.mark.skipif(
    not all((path / "model.safetensors").is_file() for path in (draft_path(), target_path())),
    reason="the embedded pair's weights are not in this checkout: `make train-tiny` makes them",
)

CALLS = {
    "atts": {"draft/draft", "target/score"},
    "draft-only": {"draft/draft"},
    "target-only": {"target/takeover"},
    "always-takeover": {"draft/draft", "target/takeover"},
    "random-takeover": {"draft/draft"},
    "synchronous": {"draft/draft", "target/score"},
    "self": {"target/draft", "target/score"},
    "specreason": {"draft/draft", "target/judge"},
    "speculative-thinking": {"draft/draft", "draft/probe"},
    "glimprouter": {"draft/probe", "draft/draft", "target/takeover"},
    "self-consistency": {"target/takeover"},
    "adaptive-consistency": {"target/takeover"},
    "esc": {"target/takeover"},
    "deepconf": {"target/takeover"},
}
FEW = {"esc": {"window": 2}, "deepconf": {"warmup": 1, "group_tokens": 16}}
MAY_CALL = {"target/takeover", "target/probe", "target/answer"}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The built-in plugins, by the entry points that installing the package would bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = Discovery(installed=False)
    for name, module in project["entry-points"][PROJECT].items():
        known.manager.register(importlib.import_module(module), name)
    monkeypatch.setattr(plugins, "discovery", lambda: known)


@pytest.fixture(scope="module")
def tasks():
    folder = str(Path(atts_tasks.__file__).parent)
    return TaskManager(include_defaults=False, include_path=folder, metadata={"repeats": 2})


def test_there_is_a_row_for_every_strategy():
    assert set(plugins.strategies()) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_strategy_runs_by_lm_eval(name, tasks):
    # Two samples a problem are fewer than a window or a warm-up as published.
    model = model_class(name)(dtype="float32", **FEW.get(name, {}))
    try:
        results = simple_evaluate(
            model=model,
            tasks=[TASK],
            task_manager=tasks,
            limit=2,
            bootstrap_iters=0,
        )
    finally:
        model.close()
    statistics = results["config"]["atts"]["statistics"][TASK]
    assert (statistics["samples"], statistics["failed"]) == (4, 0)
    made = {kind for kind, totals in statistics["calls"].items() if totals["calls"]}
    assert CALLS[name] <= made <= CALLS[name] | MAY_CALL
    assert 0 < statistics["tokens_per_sample"]["kept"] <= 640
    assert 0.0 <= results["results"][TASK]["pass@1,all"] <= 1.0


def produce(strategy, problems=12, **options):
    """Samples of one strategy on chain problems."""
    with Harness(parse_settings({"strategy": strategy, "dtype": "float32", **options})) as harness:
        made = harness.strategy({}, {"task": TASK})
        groups = []
        for doc, problem in enumerate(make_problems("mixed", "test", problems)):
            asked = Problem(
                task=TASK,
                doc=doc,
                prompt=Prompt((Message("user", problem.prompt),)),
                max_tokens=640,
                sampling={role: Sampling() for role in ("draft", "target")},
            )
            groups.append(Group(asked, (Sample(SampleId(TASK, doc, 0), asked),), made))
        return harness.run(groups)


def test_every_branch_of_speculative_thinking_occurs():
    seen: set[str] = set()
    for problems, options in (
        (12, {"begin": True}),
        (30, {"recap_after_negative_num": 1}),
        (12, {"not_reasoning": True}),
        (30, {}),
    ):
        for record in produce("speculative-thinking", problems, **options):
            assert record.failed is None
            seen |= record.notes["branches"].keys()
    assert seen == {
        "begin",
        "recapitulation",
        "neutral",
        "affirmation",
        "reflection",
        "verification",
        "asked though neutral",
    }


def judged(**options):
    """Whether steps were kept, one entry for each that was judged."""
    return [
        step["kept"]
        for record in produce("specreason", think_close="keep", **options)
        for step in record.notes["judged"]
    ]


def test_steps_are_kept_and_thrown_away_by_the_judges_mean_digit():
    assert set(judged(judging="average", threshold=6)) == {True, False}


def test_steps_are_kept_and_thrown_away_by_the_judges_likeliest_digit():
    decisions = judged(judging="greedy")
    assert 0.2 <= sum(decisions) / len(decisions) <= 0.9
