"""A run against a mock server that goes wrong, through the real clients of both dialects."""

import asyncio
import contextlib
import importlib

import msgspec

from atts_harness.backend import BackendSpec
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.journal.reader import open_run
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.control import Control
from atts_harness.settings import RunOptions
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_faults import FaultPlan
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups
from atts_harness.testing.mock_server import MockServer
from atts_harness.testing.scripted import ByteTokenizer

TURNS = MockTurns(MockOptions(turns=2, draft_tokens=8, target_tokens=8, ending=0.0, rate=1.0))


async def open_backend(dialect, url, monkeypatch, **options):
    module = importlib.import_module(f"atts_{dialect}.backend")
    monkeypatch.setattr(module, "open_tokenizer", lambda spec, served: ByteTokenizer())
    kind = importlib.import_module(f"atts_{dialect}.plugin").KIND
    spec = BackendSpec(dialect, None, kind.options(url=url, **options))
    return await kind.open(spec)


def run_against(
    monkeypatch, dialect, faults, folder, *, engine=None, meanwhile=None, longest=None, **given
):
    """Records of a small run, its journal's calls, and its control.

    Args:
        monkeypatch: makes pauses short.
        dialect: `sglang`, `vllm` or `openai` (on vLLM's server).
        faults: the plan from when the backend is open.
        folder: run directory.
        engine: by default one without latency.
        meanwhile: a coroutine function of engine and control, run beside.
        longest: most bytes of a reply.
    """
    monkeypatch.setattr("atts_harness.running.client.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("atts_harness.running.client.LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("atts_harness.running.engine.FIRST_PROBE", 0.05)
    engine = engine or MockEngine()
    control = Control()
    options = given.pop("options", {})

    async def main():
        spoken = "vllm" if dialect == "openai" else dialect
        async with MockServer(engine, spoken) as server:
            backend = await open_backend(dialect, server.url, monkeypatch, **options)
            if longest is not None:
                backend.http._longest = longest
            engine.faults = faults
            beside = asyncio.create_task(meanwhile(engine, control)) if meanwhile else None
            groups = make_groups(2, 2, TURNS)
            plan = planned(groups)
            with contextlib.closing(RunDirectory(folder)) as directory:
                journal = directory.journal(RunRecord(), plan)
                try:
                    records = await run_groups(
                        groups,
                        {"draft": backend, "target": backend},
                        RunOptions(
                            **{"retries": 1, "metrics_interval": 0, "engine_timeout": 20, **given}
                        ),
                        journal,
                        control=control,
                    )
                    return records
                finally:
                    journal.close()
                    await backend.aclose()
                    if beside is not None:
                        beside.cancel()

    records = asyncio.run(main())
    with open_run(folder) as run:
        calls = list(run.calls())
    assert msgspec.msgpack.encode(records)
    return records, calls, control


def only(fault, **fields):
    return FaultPlan({fault: 1.0}, **fields)
