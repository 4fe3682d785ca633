"""Suites against real engines: `make test-vllm`, `make test-sglang`. Not part of `make test`.

`ATTS_TEST_ENGINE` names the engine; `scripts/test-engine.sh` sets it when it has installed one.
"""

import asyncio
import importlib.util
import json
import os
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ENGINE = os.environ.get("ATTS_TEST_ENGINE", "")
if not ENGINE:
    collect_ignore_glob = ["test_*.py"]

WINDOW = 1024
_told: list[str] = []
_outcomes: dict[str, int] = {}


def settings() -> dict:
    """What `cases.toml` says of the engine under test."""
    return tomllib.loads((HERE / "cases.toml").read_text())[ENGINE]


@pytest.fixture(scope="session")
def loop():
    """One event loop for the session: a backend's connections belong to it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A random Llama that every engine serves in float32."""
    from atts_harness.testing.conformance_folder import write_model_folder

    return write_model_folder(tmp_path_factory.mktemp("model"), max_length=WINDOW)


@pytest.fixture(scope="session")
def reference(folder):
    from atts_harness.testing.conformance_reference import TransformersReference

    return TransformersReference(str(folder))


@pytest.fixture(scope="session")
def backend(loop, folder, tmp_path_factory):
    """The engine's backend on a server that it starts itself, stopped at the end."""
    from atts_harness import plugins
    from atts_harness.backend import BackendSpec

    kind = plugins.backend(ENGINE)
    options = kind.options(dtype="float32", max_length=WINDOW, devices="cpu")
    run_dir = str(tmp_path_factory.mktemp("run"))
    spec = BackendSpec(ENGINE, str(folder), options, "target", run_dir)
    kind.check(spec)
    opened = loop.run(kind.open(spec))
    _told.append(f"{ENGINE} {opened.identity.version}, process {opened.server.pid}")
    yield opened
    loop.run(opened.aclose())


@pytest.fixture(scope="session")
def openai(loop, backend, folder):
    """The same server through the OpenAI-compatible backend."""
    from atts_harness import plugins
    from atts_harness.backend import BackendSpec

    kind = plugins.backend("openai")
    options = kind.options(url=f"{backend.http.url}/v1")
    opened = loop.run(kind.open(BackendSpec("openai", str(folder), options, "target")))
    yield opened
    loop.run(opened.aclose())


# The last files start servers of their own, when the shared one has been killed: so there are never
# more than two at a time.
ORDER = [
    *("test_conformance", "test_own", "test_death", "test_tail", "test_routers"),
    *("test_speculation", "test_strategies", "test_main_job"),
]


def pytest_collection_modifyitems(items):
    own = [item for item in items if item.path.parent == HERE]
    others = [item for item in items if item.path.parent != HERE]
    items[:] = others + sorted(own, key=lambda item: ORDER.index(item.path.stem))


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.outcome] = _outcomes.get(report.outcome, 0) + 1


def pytest_sessionfinish(session, exitstatus):
    """A suite that shrank, or that left a case out, has failed."""
    if not ENGINE or session.config.option.collectonly:
        return
    wanted = settings()["cases"]
    asked = session.config.option
    here = session.config.invocation_params.dir
    named = [(here / argument).resolve() for argument in session.config.args]
    selected = named != [HERE] or asked.keyword or asked.markexpr or asked.deselect
    if _outcomes != {"passed": wanted} and not (selected and set(_outcomes) == {"passed"}):
        print(f"\n{ENGINE}: {_outcomes}, but cases.toml says {wanted} passed and nothing else")
        session.exitstatus = 1
    elif not selected:
        _check_record(session, wanted)


def _check_record(session, cases):
    """The table of versions in the documentation is what the suites ran on."""
    script = HERE.parents[1] / "scripts" / "compatibility.py"
    found = importlib.util.spec_from_file_location("compatibility", script)
    compatibility = importlib.util.module_from_spec(found)
    found.loader.exec_module(compatibility)
    told = compatibility.facts(ENGINE, os.environ[f"ATTS_{ENGINE.upper()}_PYTHON"], cases)
    recorded = json.loads(compatibility.RECORD.read_text()).get(ENGINE)
    if os.environ.get("ATTS_RECORD"):
        compatibility.write(ENGINE, told)
    elif recorded != told:
        print(f"\n{ENGINE}: ran on {told}, docs/compatibility.json has {recorded}; ATTS_RECORD=1")
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"engine: {'; '.join(_told) or 'not started'}; {_outcomes}")


def pytest_report_header():
    return f"engine under test: {ENGINE or 'none'}"
