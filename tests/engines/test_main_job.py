"""`lm_eval --model atts` with the embedded pair on real servers, and the commands around it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENGINE

TASK = "atts_chain_easy"
DOCUMENTS = 4
PATIENCE = 1200


def lm_eval(model_args: str, folder: Path) -> dict:
    """The results of a run of stock lm-eval."""
    command = [sys.executable, "-m", "lm_eval", "--model", "atts", "--tasks", TASK]
    command += ["--model_args", f"{model_args},run_dir={folder / 'run'}"]
    command += ["--limit", str(DOCUMENTS), "--metadata", '{"repeats": 2}']
    command += ["--output_path", str(folder / "out"), "--log_samples"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (results,) = (folder / "out").rglob("results_*.json")
    return json.loads(results.read_text())


def roles_of(results: dict) -> dict[str, dict]:
    """What the run's roles say of themselves, by role; lm-eval keeps it in its own results."""
    return results["config"]["atts"]["roles"]


def refused(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


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


def same_as_transformers(arguments: str) -> None:
    """Each engine gives the trained models' log-probabilities, biases and all."""
    from atts_harness import plugins
    from atts_harness.backend import ScoreRequest
    from atts_harness.settings import parse_settings
    from atts_harness.testing.conformance_reference import TransformersReference

    given = dict(part.split("=", 1) for part in arguments.split(","))
    for role, spec in parse_settings(given).roles.items():
        reference = TransformersReference(given[role])

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
    wanted = "preset=tiny,draft_backend=vllm,target_backend=sglang,devices=cpu"
    command = [sys.executable, "-m", "atts_harness", "serve-models", wanted]
    serving = subprocess.Popen(
        [*command, "--run-dir", str(tmp_path / "servers")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert serving.stdout is not None
        told = ""
        for line in serving.stdout:
            told += line
            if line.startswith("--model_args "):
                break
        arguments = told.rpartition("--model_args ")[2].strip()
        urls = re.findall(r"_url=(http://[^,]+)", arguments)
        assert len(urls) == 2, told
        results = lm_eval(arguments, tmp_path)
        assert results["n-samples"][TASK]["effective"] == DOCUMENTS
        engines = {role: told["engine"] for role, told in roles_of(results).items()}
        assert engines == {"draft": "vllm", "target": "sglang"}
        same_as_transformers(arguments)
        doctor = subprocess.run(
            [sys.executable, "-m", "atts_harness", "doctor", *urls],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        assert doctor.stdout.count("samples of one prompt differ") == 2
        warm = [sys.executable, "-m", "atts_harness", "warmup", *urls, "--batch", "2"]
        warmed = subprocess.run(warm, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert warmed.returncode == 0, warmed.stdout + warmed.stderr
        assert warmed.stdout.count("score: ") >= 4
    finally:
        serving.send_signal(signal.SIGTERM)
        status = serving.wait(120)
    assert status == 0
    assert all(map(refused, urls))


if ENGINE == "sglang":  # its suite installs both; a case that is not there cannot be skipped

    def test_draft_and_target_on_different_engines_that_runs_share(tmp_path):
        both_engines(tmp_path)
