"""The engine's own speculative decoding, for real: the embedded target, whose server guesses ahead.

Each engine has the cases that its build for the processor allows (a case that is not there cannot
be skipped): vLLM runs, SGLang says what it lacks. docs/engines.md tells the same.
"""

import json
import os
import subprocess
from pathlib import Path

import atts_tasks
import pytest
from atts_tiny.paths import draft_path, target_path
from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import SettingError
from atts_harness.testing.conformance_reference import TransformersReference
from atts_harness.transcript import Message

from .conftest import ENGINE
from .serving import PATIENCE, command

TASK = "atts_chain_easy"
WINDOW = 1024
# float32: other batches, other sums.
TOLERANCE = 5e-5
# What vLLM runs on the processor, and what SGLang does not, with the model that proposes. The
# server of test_tail.py guesses n-grams.
RUNS = {"draft_model": str(draft_path())}
LACKS = {
    "NGRAM": (None, r"No module named 'sgl_kernel.speculative'"),
    "STANDALONE": (str(draft_path()), r"sgl_kernel\.copy_all_layer_kv_cache_cpu"),
}


def speculating(method, model, folder):
    """The kind of backend and the target's specification, as the method's preset has it."""
    preset = plugins.presets()[f"{ENGINE}-{method.lower().replace('_', '-')}"].value
    assert preset.settings == {"target_backend": ENGINE, "target_speculate": method}
    kind = plugins.backend(ENGINE)
    options = kind.options(
        dtype="float32",
        max_length=WINDOW,
        devices="cpu",
        speculate=method,
        speculate_model=model,
    )
    spec = BackendSpec(ENGINE, str(target_path()), options, "target", str(folder))
    kind.check(spec)
    return kind, spec


@pytest.fixture(scope="module", params=RUNS)
def guessing(request, loop, tmp_path_factory):
    """A target whose server guesses ahead."""
    kind, spec = speculating(request.param, RUNS[request.param], tmp_path_factory.mktemp("run"))
    opened = loop.run(kind.open(spec))
    yield opened
    loop.run(opened.aclose())


@pytest.fixture(scope="module")
def target():
    return TransformersReference(str(target_path()))


def same_texts_and_scores(loop, guessing, target):
    prompt = guessing.tokenizer.render([Message("user", "Compute 17 + 5 - 8 * 2.")])
    asked = GenerateRequest(ids=prompt, max_tokens=60, sampling=Sampling(temperature=0.0))
    for _ in range(2):  # with an empty cache, and with a full one
        reply = loop.run(guessing.generate(asked))
        ids = prompt + reply.ids
        expected = target.logprobs(ids)[len(prompt) - 1 :]
        # Each is the most probable token.
        assert expected == pytest.approx(target.best(ids)[len(prompt) - 1 :], abs=TOLERANCE)
        assert 0 <= reply.usage.accepted_tokens <= reply.usage.proposed_tokens
        score = loop.run(guessing.score(ScoreRequest(ids=ids, start=len(prompt))))
        assert score.logprobs == pytest.approx(expected, abs=TOLERANCE)
    assert "atts_tail plugin" in guessing.identity.server["score_route"]


def evaluate(guessing, strategy, folder, **options):
    """The statistics of a run whose target is that server; a draft writes in this process."""
    given = {
        "target_backend": ENGINE,
        "target_url": guessing.http.url,
        "target_temperature": 0,  # others are refused, see below
        "run_dir": folder,
        "progress": "off",
        **options,
    }
    if "draft" in plugins.strategy(strategy).roles:
        given |= {"draft_backend": "transformers", "draft": draft_path(), "draft_device": "cpu"}
    tasks = TaskManager(
        include_defaults=False,
        include_path=str(Path(atts_tasks.__file__).parent),
        metadata={"repeats": 2},
    )
    arguments = ",".join(f"{name}={value}" for name, value in given.items())
    model = get_model(strategy).create_from_arg_string(arguments)
    try:
        results = simple_evaluate(
            model=model, tasks=[TASK], task_manager=tasks, limit=2, bootstrap_iters=0
        )
    finally:
        model.close()
    return results["config"]["atts"]["statistics"][TASK]


def reported(run_dir, folder):
    """The row of a run in the report's JSON."""
    out = folder / "report"
    command("atts_harness", "report", str(run_dir), "--out", str(out), "--no-html", folder=folder)
    (row,) = json.loads((out / "leaderboard.json").read_text())["rows"]
    return row


def calls_of(guessing, strategy, tmp_path, **options):
    """Sums of a run's calls, by role and kind."""
    statistics = evaluate(guessing, strategy, tmp_path / "run", **options)
    assert (statistics["samples"], statistics["failed"]) == (4, 0)
    return {kind: totals for kind, totals in statistics["calls"].items() if totals["calls"]}


def replies_say_what_was_accepted(guessing, tmp_path):
    """A target alone writes to the end of its text, and each reply says what was proposed."""
    totals = calls_of(guessing, "target-only", tmp_path)["target/takeover"]
    assert 0 < totals["accepted_tokens"] <= totals["proposed_tokens"]
    assert totals["unreported_tokens"] == 0
    assert reported(tmp_path / "run", tmp_path)["accepted"] == {
        "target": pytest.approx(totals["accepted_tokens"] / totals["proposed_tokens"])
    }


def figures_say_what_was_accepted(guessing, tmp_path):
    """Turns end at a stop string: such replies say nothing, and the engine's figures are taken."""
    calls = calls_of(guessing, "atts", tmp_path, rate=0.9)
    takeover = calls["target/takeover"]
    assert 0 < takeover["unreported_tokens"] <= takeover["completion_tokens"]
    assert calls["target/score"]["proposed_tokens"] == 0
    accepted = reported(tmp_path / "run", tmp_path)["accepted"]
    assert accepted.keys() == {"target"}
    assert 0 < accepted["target"] <= 1


DRAWS = """
import torch
from vllm.platforms import current_platform
current_platform.import_kernels()
from vllm.utils.cpu_triton_utils import _expand_kernel_impl
told = torch.full((3,), -1.0)
_expand_kernel_impl(told, torch.tensor([0.8, 0.5]), torch.tensor([1, 3]), 0, 1)
print("temperatures:", told.tolist())
"""


def the_reason_stands():
    """Red once vLLM has mended its kernel: then `wrong_draws` can go."""
    done = subprocess.run(
        [os.environ["ATTS_VLLM_PYTHON"], "-c", DRAWS],
        capture_output=True,
        text=True,
        env={**os.environ, "VLLM_PLUGINS": "none"},
        timeout=PATIENCE,
        check=True,
    )
    assert "temperatures: [-1.0, -1.0, -1.0]" in done.stdout


def a_draw_is_refused(loop, guessing):
    asked = GenerateRequest(ids=(5, 6), max_tokens=4, sampling=Sampling(temperature=0.8))
    with pytest.raises(SettingError, match=r"^target_temperature: on the processor"):
        loop.run(guessing.generate(asked))


def what_is_lacking(loop, method, tmp_path):
    model, words = LACKS[method]
    kind, spec = speculating(method, model, tmp_path)
    with pytest.raises(SettingError, match=words) as caught:
        loop.run(kind.open(spec))
    assert "\n" not in str(caught.value)


if ENGINE == "vllm":

    def test_texts_and_scores_are_those_of_the_model_alone(loop, guessing, target):
        same_texts_and_scores(loop, guessing, target)

    def test_a_temperature_is_refused_on_the_processor(loop, guessing):
        a_draw_is_refused(loop, guessing)

    def test_target_only_tells_what_was_accepted(guessing, tmp_path):
        replies_say_what_was_accepted(guessing, tmp_path)

    def test_atts_tells_what_was_accepted_of_takeovers(guessing, tmp_path):
        figures_say_what_was_accepted(guessing, tmp_path)

    def test_vllm_does_not_copy_a_temperature_on_the_processor():
        the_reason_stands()


if ENGINE == "sglang":

    @pytest.mark.parametrize("method", LACKS)
    def test_a_method_that_the_processor_lacks_is_told_in_a_line(loop, method, tmp_path):
        what_is_lacking(loop, method, tmp_path)
