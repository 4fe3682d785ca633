"""Engines' own figures, from their Prometheus text."""

import asyncio

import atts_sglang.plugin
import atts_vllm.plugin
import pytest

from atts_harness.engines.backend import EngineBackend
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.metrics import parse_figures
from atts_harness.engines.served import Served
from atts_harness.errors import MalformedReplyError
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_server import MockServer
from atts_harness.testing.scripted import ByteTokenizer

NAMES = {**atts_vllm.plugin.METRICS, **atts_sglang.plugin.METRICS}
TEXT = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:prompt_tokens_total 1.2e+06
vllm:prompt_tokens_created{engine="0"} 1.7e+09
python_gc_objects_collected_total{generation="0"} 1.0
"""


def test_lines_of_one_name_add_up_and_of_shares_the_largest_counts():
    found = parse_figures(TEXT.encode(), NAMES)
    assert found == {"running": 5.0, "kv_usage": 0.5, "prompt_tokens": 1.2e6}


def test_what_is_not_told_is_left_out():
    assert parse_figures(b"", NAMES) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"vllm:num_requests_running NaN\n",
        b"vllm:num_requests_running lots\n",
        b"sglang:token_usage +Inf\n",
        b"vllm:prompt_tokens_total 1e999\n",
    ],
)
def test_what_is_no_figure_is_malformed(content):
    with pytest.raises(MalformedReplyError, match="/metrics"):
        parse_figures(content, NAMES)


def test_a_strange_line_of_another_name_harms_nothing():
    assert parse_figures(b"some:other NaN\n" + TEXT.encode(), NAMES)["running"] == 5.0


async def never():
    raise AssertionError("not asked here")


@pytest.mark.parametrize("dialect", ["sglang", "vllm"])
def test_a_backend_asks_its_server(dialect):
    async def go():
        engine = MockEngine()
        engine.tokens["prompt"] = 77
        async with MockServer(engine, dialect) as server:
            backend = EngineBackend(
                EngineHttp(server.url), ByteTokenizer(), 100, Served("mock", "m", "m"), never
            )
            try:
                return await backend.metrics()
            finally:
                await backend.aclose()

    figures = asyncio.run(go())
    assert figures["prompt_tokens"] == 77
    assert figures["kv_usage"] == 0
