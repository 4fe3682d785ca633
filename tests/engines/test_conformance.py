"""The conformance suite on a real server, by the engine's own backend and by the OpenAI one."""

import os
import re

import pytest

from atts_harness.testing.conformance import Hooks, all_cases, describe, run_conformance

from .conftest import ENGINE, settings

NAMES = list(all_cases())
# How often each case runs on the same server: cases that depend on timing are run a hundred times.
TIMES = int(os.environ.get("ATTS_TEST_TIMES", "1"))


def cases(left_out):
    """Names of the cases to run; what is left out must exist."""
    assert set(left_out) <= set(NAMES)
    return [name for name in NAMES if name not in left_out]


@pytest.fixture(scope="session")
def hooks(backend):
    """A look into the engine, and requests that its server refuses in each of its ways."""

    def provoke(method, path, body):
        return lambda: backend.http.exchange(method, path, body)

    if ENGINE == "vllm":
        refusals = {
            "error.message": provoke(
                "POST", "/v1/completions", b'{"model": "none", "prompt": [1]}'
            ),
            "validation": provoke("POST", "/v1/completions", b'{"prompt": {"a": 1}}'),
            "detail": provoke("GET", "/no/such/route", None),
        }
        route, pattern = "/metrics", rb"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$"
        notices_within = 0.0  # it waits for the connection's end beside each reply
    else:
        refusals = {
            "error.message": provoke("POST", "/generate", b'{"input_ids": []}'),
            "error": provoke(
                "POST", "/generate", b'{"input_ids": [1], "sampling_params": {"nonsense": 1}}'
            ),
            "object": provoke(
                "POST", "/v1/completions", b'{"model": "m", "prompt": [1], "max_tokens": 0}'
            ),
            "detail": provoke("GET", "/no/such/route", None),
        }
        route, pattern = "/v1/loads", rb'"num_(?:running|waiting)_reqs":\s*(\d+)'
        # Only the engine's own backend tells it which request to abort. Twice: the look may have
        # been just before, and then the scheduler has to be told.
        notices_within = 2.0 * int(backend.server.launch.env["SGLANG_REQUEST_STATE_WAIT_TIMEOUT"])

    async def running():
        told = await backend.http.exchange("GET", route)
        found = re.findall(pattern, told, re.MULTILINE)
        assert found
        return int(sum(map(float, found)))

    return Hooks(running=running, refusals=refusals, notices_within=notices_within)


def passes(loop, backend, reference, hooks, name):
    for _ in range(TIMES):
        results = loop.run(run_conformance(backend, reference, hooks=hooks, only=[name]))
        assert [r.status for r in results] == ["passed"], describe(results)


@pytest.mark.parametrize("name", cases(settings()["left_out"]))
def test_backend(loop, backend, reference, hooks, name):
    passes(loop, backend, reference, hooks, name)


@pytest.mark.parametrize("name", cases(settings()["left_out_openai"]))
def test_openai_backend(loop, openai, reference, hooks, name):
    passes(loop, openai, reference, hooks, name)
