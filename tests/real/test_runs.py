"""Whole runs of stock lm-eval on a real model: strategies, tasks, resuming, servers of a run."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import atts_tasks
import pytest
from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.backend import GenerateRequest, Sampling
from atts_harness.errors import RunDirError
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.strategy import Group, Problem, Sample
from atts_harness.transcript import Message, Prompt

from .conftest import HERE, SERVED

DATA = os.environ.get("ATTS_DATA_DIR")
PATIENCE = 1800
STEPS = {"turns": 3, "draft_tokens": 16, "target_tokens": 16}
TURNS = {"rate": 0.4, **STEPS}
BUDGET = 64
# By title: the strategy, its options, and the calls without which it would be another one.
ROWS = {
    "atts-continue": ("atts", {**TURNS, "on_reject": "continue"}, {"draft/draft", "target/score"}),
    "atts-replace": ("atts", {**TURNS, "on_reject": "replace"}, {"draft/draft", "target/score"}),
    "specreason": ("specreason", {}, {"draft/draft", "target/judge"}),
    "speculative-thinking": ("speculative-thinking", {}, {"draft/draft"}),
    "draft-only": ("draft-only", {}, {"draft/draft"}),
    "target-only": ("target-only", {}, {"target/takeover"}),
    "always-takeover": ("always-takeover", STEPS, {"draft/draft", "target/takeover"}),
    "random-takeover": ("random-takeover", TURNS, {"draft/draft"}),
    "synchronous": ("synchronous", TURNS, {"draft/draft", "target/score"}),
    "self": ("self", TURNS, {"target/draft", "target/score"}),
    "glimprouter": ("glimprouter", {"step_tokens": 16}, {"draft/probe"}),
    # Votes: a layer over another strategy.
    "self-consistency": (
        "self-consistency",
        {"inner": "atts", **TURNS},
        {"draft/draft", "target/score"},
    ),
    "adaptive-consistency": ("adaptive-consistency", {}, {"target/takeover"}),
    "esc": ("esc", {"window": 2}, {"target/takeover"}),
    "deepconf": ("deepconf", {"warmup": 1}, {"target/takeover"}),
}
# Two samples a row: of two problems, or of one where samples of a problem vote.
VOTES = {"self-consistency", "adaptive-consistency", "esc", "deepconf"}


def model_args(pair, *roles, backend="transformers", **options):
    """Settings of a run, as lm-eval takes them."""
    used = {role: pair[role] for role in roles}
    where = {"device": "cpu"} if backend == "transformers" else {"devices": "cpu"}
    given = {"backend": backend, **used, **where, "dtype": "float32", "progress": "off", **options}
    return ",".join(f"{name}={value}" for name, value in given.items())


@functools.cache
def tasks(repeats):
    return TaskManager(
        include_defaults=False,
        include_path=str(Path(atts_tasks.__file__).parent),
        metadata={"repeats": repeats},
    )


def evaluate(pair, name, folder, task="atts_gsm8k", *, documents=2, repeats=1, **options):
    """The results of a strategy on a task, in process."""
    options = {"max_gen_toks": BUDGET, **options}
    roles = plugins.strategy(name).made_for(options).roles
    arguments = model_args(pair, *roles, run_dir=folder, **options)
    model = get_model(name).create_from_arg_string(arguments)
    try:
        return simple_evaluate(
            model=model,
            tasks=[task],
            task_manager=tasks(repeats),
            limit=documents,
            bootstrap_iters=0,
            apply_chat_template=True,
        )
    finally:
        model.close()


@pytest.fixture
def our_problems(monkeypatch):
    """Word problems of this project, where GSM8K's own would be."""
    monkeypatch.setenv("ATTS_DATA_DIR", str(HERE / "data"))


def test_no_strategy_is_left_out():
    assert {name for name, _, _ in ROWS.values()} == set(plugins.strategies())


@pytest.mark.parametrize("title", ROWS)
def test_a_strategy_answers_word_problems(pair, our_problems, title, tmp_path):
    name, options, must = ROWS[title]
    documents, repeats = (1, 2) if name in VOTES else (2, 1)
    results = evaluate(
        pair, name, tmp_path / "run", documents=documents, repeats=repeats, **options
    )
    told = results["config"]["atts"]["statistics"]["atts_gsm8k"]
    assert (told["samples"], told["failed"]) == (2, 0)
    made = {kind for kind, totals in told["calls"].items() if totals["calls"]}
    assert must <= made
    assert 0 < told["tokens_per_sample"]["kept"] <= BUDGET
    assert 0.0 <= results["results"]["atts_gsm8k"]["pass@1,all"] <= 1.0
    with open_run(tmp_path / "run") as run:
        assert run.complete
        texts = [sample.text for sample in run.samples()]
    assert len(texts) == 2
    assert all(text.strip() for text in texts)


def test_the_chain_task(pair, tmp_path):
    results = evaluate(pair, "atts", tmp_path / "run", "atts_chain_easy", rate=0.4)
    assert results["config"]["atts"]["statistics"]["atts_chain_easy"]["failed"] == 0


# What this model writes to each without a draw: characters of two, three and four bytes.
CUT = {
    "Write five emoji.": "🌟🌟🌟🌟",
    "Translate into Japanese: Good morning.": "わら・わら",
    "Write the Russian alphabet.": "Руссии",
}


def test_turns_that_end_inside_characters_join_to_what_one_call_writes(pair):
    """Turns of four tokens cut characters of three; what is cut is held back and written again."""
    given = {
        "strategy": "self",
        "backend": "transformers",
        "target": pair["target"],
        "device": "cpu",
        "dtype": "float32",
        "draft_temperature": 0.0,
        "target_temperature": 0.0,
        "draft_tokens": 4,
        "target_tokens": 4,
        "turns": 20,
        "rate": 0.5,
        "progress": "off",
    }
    settings = parse_settings(given)
    with Harness(settings) as harness:
        strategy = harness.strategy({}, {"task": "cut"})
        groups = []
        for doc, question in enumerate(CUT):
            problem = Problem(
                task="cut",
                doc=doc,
                prompt=Prompt((Message("user", question),)),
                max_tokens=24,
                prompt_hash=question,
                sampling=settings.sampling({}),
            )
            groups.append(Group(problem, (Sample(SampleId("cut", doc, 0), problem),), strategy))
        target = harness.backends["target"]
        samples = harness.run(groups, show=False)
        for sample, group, begin in zip(samples, groups, CUT.values(), strict=True):
            asked = GenerateRequest(
                ids=target.tokenizer.render(group.problem.prompt.messages),
                max_tokens=24,
                sampling=Sampling(temperature=0.0),
            )
            reply = harness.call(functools.partial(target.generate, asked))
            whole = target.tokenizer.decode(reply.ids)
            assert sample.text.startswith(begin)
            # The last character may be cut by the budget.
            assert whole.startswith(sample.text)
            assert len(whole) - len(sample.text) <= 2


if DATA:

    @pytest.mark.parametrize("task", ["atts_gsm8k", "atts_math500"])
    def test_a_benchmark_of_the_data_folder(pair, task, tmp_path):
        results = evaluate(pair, "atts", tmp_path / "run", task, **TURNS)
        assert results["config"]["atts"]["statistics"][task]["failed"] == 0


def lm_eval(arguments, folder):
    """The command, with its output in a file."""
    log = (folder / "lm_eval.log").open("a")
    environment = {**os.environ, "ATTS_DATA_DIR": str(HERE / "data")}
    command = [sys.executable, "-m", "lm_eval", *arguments]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def recorded(run_dir):
    """Calls of a run so far, by key."""
    with open_run(run_dir) as run:
        return {str(call.key): call for call in run.calls()}


@pytest.mark.parametrize("engine", SERVED or ["transformers"])
def test_a_run_that_was_killed_goes_on_with_servers_of_its_own(pair, engine, tmp_path):
    run_dir = tmp_path / "run"
    given = model_args(pair, "draft", "target", backend=engine, max_length=2048, **TURNS)
    arguments = [
        *("--model", "atts", "--tasks", "atts_gsm8k", "--apply_chat_template"),
        *("--model_args", f"{given},run_dir={run_dir},max_gen_toks={BUDGET},live_samples=1"),
        *("--metadata", '{"repeats": 2}', "--output_path", str(tmp_path / "out")),
    ]
    first = lm_eval(arguments, tmp_path)
    deadline = time.monotonic() + PATIENCE
    before = {}
    while len(before) < 5:
        assert first.poll() is None, (tmp_path / "lm_eval.log").read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.5)
        with contextlib.suppress(RunDirError):  # there is no run yet
            before = recorded(run_dir)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = recorded(run_dir)
    second = lm_eval(arguments, tmp_path)
    assert second.wait(PATIENCE) == 0, (tmp_path / "lm_eval.log").read_text()[-4000:]
    after = recorded(run_dir)
    assert len(before) < len(after)
    assert all(after[key] == call for key, call in before.items())
    (results,) = (tmp_path / "out").rglob("results_*.json")
    told = json.loads(results.read_text())["config"]["atts"]["statistics"]["atts_gsm8k"]
    assert (told["samples"], told["failed"]) == (8, 0)
