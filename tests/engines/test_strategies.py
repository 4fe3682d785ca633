"""Every strategy through lm-eval on real servers of the embedded pair: one pair for all of them."""

import functools
import itertools
import os
import signal
import time
from pathlib import Path

import atts_tasks
import pytest
from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.journal.reader import open_run
from atts_harness.running.seeds import call_seed
from atts_harness.settings import RunOptions

from .conftest import ENGINE
from .serving import PATIENCE, alive, descendants, refused, served_pair

TASK = "atts_chain_easy"
DOCUMENTS, REPEATS = 2, 2
TURNS = {"rate": 0.4}

# By title: the strategy, its options, and the calls without which it would be another one.
ROWS = {
    "atts-continue": ("atts", {**TURNS, "on_reject": "continue"}, {"draft/draft", "target/score"}),
    "atts-replace": ("atts", {**TURNS, "on_reject": "replace"}, {"draft/draft", "target/score"}),
    "specreason": ("specreason", {}, {"draft/draft", "target/judge"}),
    "speculative-thinking": ("speculative-thinking", {}, {"draft/draft", "draft/probe"}),
    "draft-only": ("draft-only", {}, {"draft/draft"}),
    "target-only": ("target-only", {}, {"target/takeover"}),
    "always-takeover": ("always-takeover", {}, {"draft/draft", "target/takeover"}),
    "random-takeover": ("random-takeover", TURNS, {"draft/draft"}),
    "synchronous": ("synchronous", TURNS, {"draft/draft", "target/score"}),
    "self": ("self", TURNS, {"target/draft", "target/score"}),
    "glimprouter": ("glimprouter", {}, {"draft/probe"}),
    # Votes: layers over another strategy.
    "self-consistency": (
        "self-consistency",
        {"inner": "atts", **TURNS},
        {"draft/draft", "target/score"},
    ),
    "adaptive-consistency": ("adaptive-consistency", {}, {"target/takeover"}),
    "esc": ("esc", {"window": REPEATS}, {"target/takeover"}),
    "deepconf": ("deepconf", {"warmup": 1}, {"target/takeover"}),
}
MAY_CALL = {"target/takeover", "target/probe", "target/answer", "draft/draft"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with served_pair(f"backend={ENGINE}", tmp_path_factory.mktemp("servers")) as served:
        yield served


@pytest.fixture(scope="module")
def evaluated(pair, tmp_path_factory):
    """The results of a row and its run directory; each row is run once."""
    # lm-eval's own 13,000 tasks take it ten seconds to index, each time.
    tasks = TaskManager(
        include_defaults=False,
        include_path=str(Path(atts_tasks.__file__).parent),
        metadata={"repeats": REPEATS},
    )

    @functools.cache
    def run(title):
        name, options, _ = ROWS[title]
        folder = tmp_path_factory.mktemp(title)
        roles = plugins.strategy(name).made_for(options).roles
        arguments = pair.model_args(*roles, run_dir=folder, **options)
        model = get_model(name).create_from_arg_string(arguments)
        try:
            results = simple_evaluate(
                model=model, tasks=[TASK], task_manager=tasks, limit=DOCUMENTS, bootstrap_iters=0
            )
        finally:
            model.close()
        return results, folder

    return run


def test_no_strategy_is_left_out():
    assert {name for name, _, _ in ROWS.values()} == set(plugins.strategies())


@pytest.mark.parametrize("title", ROWS)
def test_a_strategy_runs_by_lm_eval(evaluated, title):
    results, _ = evaluated(title)
    told = results["config"]["atts"]
    statistics = told["statistics"][TASK]
    assert (statistics["samples"], statistics["failed"]) == (DOCUMENTS * REPEATS, 0)
    assert {role["engine"] for role in told["roles"].values()} == {ENGINE}
    must = ROWS[title][2]
    made = {kind for kind, totals in statistics["calls"].items() if totals["calls"]}
    assert must <= made <= must | MAY_CALL
    tokens = statistics["tokens_per_sample"]
    assert 0 < tokens["kept"] <= 640
    for role in ("draft", "target"):
        called = any(kind.startswith(f"{role}/") for kind in made)
        assert (tokens[f"{role}_computed"] > 0) == called
    assert 0.0 <= results["results"][TASK]["pass@1,all"] <= 1.0


def calls(folder):
    with open_run(folder) as run:
        assert run.complete
        return {call.key: call for call in run.calls()}


def test_all_of_them_draw_by_the_same_seeds(evaluated):
    runs = {title: calls(evaluated(title)[1]) for title in ROWS}
    for made in runs.values():
        for key, call in made.items():
            if call.seed is not None:
                asked = (key.sample, key.role, key.kind, key.turn, key.attempt)
                assert call.seed == call_seed(RunOptions().seed, *asked)
    shared = 0
    for one, other in itertools.combinations(runs.values(), 2):
        for key in one.keys() & other.keys():
            same = one[key].request_hash == other[key].request_hash
            if key.kind == "draft" and key.turn == 0 and same:
                shared += 1
                if ENGINE == "vllm":  # which honours them
                    assert one[key].reply.ids == other[key].reply.ids
    # ATTS twice, random and synchronous takeover ask for the same first drafts at least.
    assert shared >= 6 * DOCUMENTS * REPEATS


def test_servers_and_their_workers_are_gone_when_the_parent_is_killed(pair):
    assert not any(map(refused, pair.urls))
    below = descendants(pair.process.pid)
    assert len(below) > len(pair.urls) * 2  # a guardian, a server and its workers for each
    os.kill(pair.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(map(alive, below)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, below))
    assert all(map(refused, pair.urls))
