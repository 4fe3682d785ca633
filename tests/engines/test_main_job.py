"""`lm_eval --model atts` with the embedded pair on real servers, and the commands around it."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from atts_harness import plugins
from atts_harness.backend import ScoreRequest
from atts_harness.settings import parse_settings
from atts_harness.testing.conformance_reference import TransformersReference

from .conftest import ENGINE
from .serving import Pair, command, refused, served_pair

TASK = "atts_chain_easy"
DOCUMENTS = 4
# What the doctor tells of every server.
EXAMINED = [
    "engine",
    "model",
    "tokenizer",
    "context",
    "template",
    "continuation",
    "scores",
    "sampling",
    "latency",
]


def lm_eval(model_args: str, folder: Path) -> dict:
    """The results of a run of stock lm-eval."""
    arguments = ["--model", "atts", "--tasks", TASK]
    arguments += ["--model_args", f"{model_args},run_dir={folder / 'run'}"]
    arguments += ["--limit", str(DOCUMENTS), "--metadata", '{"repeats": 2}']
    arguments += ["--output_path", str(folder / "out"), "--log_samples"]
    command("lm_eval", *arguments, folder=folder)
    (results,) = (folder / "out").rglob("results_*.json")
    return json.loads(results.read_text())


def roles_of(results: dict) -> dict[str, dict]:
    """What the run's roles say of themselves, by role; lm-eval keeps it in its own results."""
    return results["config"]["atts"]["roles"]


def test_the_main_job_starts_and_stops_its_own_servers(tmp_path):
    results = lm_eval(f"preset=tiny,backend={ENGINE},devices=cpu", tmp_path)
    assert results["n-samples"][TASK]["effective"] == DOCUMENTS
    logs = sorted((tmp_path / "run" / "logs").glob(f"*-{ENGINE}.log"))
    assert [log.name.partition("-")[0] for log in logs] == ["draft", "target"]
    roles = roles_of(results)
    assert {role: told["engine"] for role, told in roles.items()} == {
        "draft": ENGINE,
        "target": ENGINE,
    }
    assert all(refused(told["server"]["url"]) for told in roles.values())


def same_as_transformers(pair: Pair) -> None:
    """Each engine gives the trained models' log-probabilities, biases and all."""
    for role, spec in parse_settings(pair.arguments).roles.items():
        reference = TransformersReference(pair.arguments[role])

        async def score(spec=spec):
            backend = await plugins.backend(spec.kind).open(spec)
            try:
                ids = backend.tokenizer.encode("Compute 17 + 5 - 8 * 2.\n\n17 + 5 = 22.")
                return ids, await backend.score(ScoreRequest(ids=ids, start=1))
            finally:
                await backend.aclose()

        ids, told = asyncio.run(score())
        assert told.logprobs == pytest.approx(reference.logprobs(ids), abs=1e-3), role


def both_engines(tmp_path):
    settings = "draft_backend=vllm,target_backend=sglang"
    with served_pair(settings, tmp_path / "servers") as pair:
        results = lm_eval(pair.model_args("draft", "target"), tmp_path)
        assert results["n-samples"][TASK]["effective"] == DOCUMENTS
        engines = {role: told["engine"] for role, told in roles_of(results).items()}
        assert engines == {"draft": "vllm", "target": "sglang"}
        same_as_transformers(pair)
        examined = command("atts_harness", "doctor", *pair.urls, folder=tmp_path)
        for subject in EXAMINED:
            assert len(re.findall(rf"^  \S+ +{subject}: ", examined, re.MULTILINE)) == 2, examined
        arguments = ["warmup", *pair.urls, "--batch", "2"]
        assert command("atts_harness", *arguments, folder=tmp_path).count("score: ") >= 4


if ENGINE == "sglang":  # its suite installs both; a case that is not there cannot be skipped

    def test_draft_and_target_on_different_engines_that_runs_share(tmp_path):
        both_engines(tmp_path)
