"""The conformance suite through the engine's router, in front of two servers of one model."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atts_harness import plugins
from atts_harness.backend import BackendSpec
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.servers import free_port
from atts_harness.errors import BackendError
from atts_harness.testing.conformance import all_cases, describe, run_conformance

from .conftest import ENGINE, WINDOW, settings
from .serving import PATIENCE

# They look into one engine, and at its error bodies; a router has several and its own.
NEED_HOOKS = {"cancellation_frees", "refusals_are_typed"}


def command(python: str, workers: list[str], port: int, metrics: int) -> list[str]:
    """How the docs start a router."""
    router = str(Path(python).with_name(f"{ENGINE}-router"))
    common = ["--policy", "cache_aware", "--host", "127.0.0.1"]
    start = [] if ENGINE == "vllm" else ["launch"]
    ports = ["--port", str(port), "--prometheus-port", str(metrics)]
    return [python, router, *start, "--worker-urls", *workers, *common, *ports]


@contextlib.contextmanager
def router(workers: list[str], folder: Path):
    """A router in front of servers that are up; its address."""
    python = os.environ.get(f"ATTS_{ENGINE.upper()}_PYTHON", sys.executable)
    port, metrics = free_port("127.0.0.1"), free_port("127.0.0.1")
    with (folder / "router.log").open("w") as log:
        process = subprocess.Popen(
            command(python, workers, port, metrics), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answers(url: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until a request gets through to a worker."""
    http = EngineHttp(url)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert process.poll() is None, await asyncio.to_thread(log.read_text)
                with contextlib.suppress(BackendError):
                    await http.exchange("GET", "/v1/models")
                    return
                await asyncio.sleep(0.3)
    finally:
        await http.aclose()


@pytest.fixture(scope="module")
def routed(loop, folder, tmp_path_factory):
    """The engine's backend behind a router with two workers."""
    kind = plugins.backend(ENGINE)
    run_dir = tmp_path_factory.mktemp("run")

    async def worker(nth):
        options = kind.options(dtype="float32", max_length=WINDOW, devices="cpu")
        place = str(run_dir / str(nth))
        return await kind.open(BackendSpec(ENGINE, str(folder), options, "target", place))

    async def behind(url):
        options = kind.options(url=url, max_length=WINDOW, tokenizer=str(folder))
        return await kind.open(BackendSpec(ENGINE, None, options, "target"))

    workers = []
    try:
        for nth in range(2):
            workers.append(loop.run(worker(nth)))
        with router([w.http.url for w in workers], run_dir) as (url, process):
            loop.run(answers(url, process, run_dir / "router.log"))
            opened = loop.run(behind(url))
            try:
                yield opened, workers
            finally:
                loop.run(opened.aclose())
    finally:
        for one in workers:
            loop.run(one.aclose())


def cases():
    """Names of the cases to run; what is left out must exist."""
    left_out = {*settings()["left_out_router"], *NEED_HOOKS}
    assert left_out <= set(all_cases())
    return [name for name in all_cases() if name not in left_out]


@pytest.mark.parametrize("name", cases() if ENGINE else [])
def test_conformance_through_a_router(loop, routed, reference, name):
    backend, _ = routed
    results = loop.run(run_conformance(backend, reference, only=[name]))
    assert [r.status for r in results] == ["passed"], describe(results)


def test_both_workers_were_used_and_a_score_follows_its_context(loop, routed):
    _, workers = routed
    served = [loop.run(w.metrics())["prompt_tokens"] for w in workers]
    assert min(served) > 0
