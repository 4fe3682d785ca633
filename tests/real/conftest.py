"""Suites on a real language model: `make test-real`. Not part of `make test`.

`ATTS_REAL_MODEL` names the folder that `scripts/real-model.sh` made: a model of 135 million
parameters with 49,152 tokens, whose tokens cut words, numbers and characters as those of large
models do, and a draft of its first layers. Engines are those whose Python the environment names.
"""

import asyncio
import os
from pathlib import Path

import pytest

FOLDER = os.environ.get("ATTS_REAL_MODEL", "")
if not FOLDER:
    collect_ignore_glob = ["test_*.py"]

HERE = Path(__file__).resolve().parent
SERVED = [name for name in ("vllm", "sglang") if os.environ.get(f"ATTS_{name.upper()}_PYTHON")]
ENGINES = ["transformers", *SERVED]
WINDOW = 2048
OPTIONS = {
    "transformers": {"device": "cpu"},
    "vllm": {"devices": "cpu"},
    "sglang": {"devices": "cpu", "max_total_tokens": 16384},
}
_skipped: list[str] = []


@pytest.fixture(scope="session")
def pair() -> dict[str, str]:
    """Folders of the draft and the target."""
    return {role: str(Path(FOLDER).resolve() / role) for role in ("draft", "target")}


@pytest.fixture(scope="session")
def loop():
    """One event loop for the session: a backend's connections belong to it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def reference(pair):
    from atts_harness.testing.conformance_reference import TransformersReference

    return TransformersReference(pair["target"])


@pytest.fixture(scope="session", params=ENGINES)
def backend(request, loop, pair, tmp_path_factory):
    """The target behind each engine, one engine at a time."""
    from atts_harness import plugins
    from atts_harness.backend import BackendSpec

    kind = plugins.backend(request.param)
    options = kind.options(dtype="float32", max_length=WINDOW, **OPTIONS[request.param])
    run_dir = str(tmp_path_factory.mktemp("run"))
    spec = BackendSpec(request.param, pair["target"], options, "target", run_dir)
    if kind.check is not None:
        kind.check(spec)
    opened = loop.run(kind.open(spec))
    yield opened
    loop.run(opened.aclose())


def pytest_runtest_logreport(report):
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session, exitstatus):
    """A suite that left a case out has failed."""
    if FOLDER and _skipped:
        print(f"\nskipped, which fails this suite: {_skipped}")
        session.exitstatus = 1


def pytest_report_header():
    return f"real model: {FOLDER or 'none'}; engines: {', '.join(ENGINES)}"
