"""Runs on a mock engine, recorded in a folder."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.settings import RunOptions
from atts_harness.strategy import RunInfo
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

OPTIONS = MockOptions(turns=4, draft_tokens=12, target_tokens=12)

RECORD = RunRecord(
    strategy="mock-turns", settings={"seed": 1234, "retries": 5}, roles={"draft": {"model": "d"}}
)


def run_in(path, groups=None, engine=None, record=RECORD, resume=True, **options):
    """One session in a run directory; the records and the engine."""
    groups = groups or make_groups(4, 3, MockTurns(OPTIONS))
    engine = engine or MockEngine(cache=False)  # what is cached depends on what ran before
    backend = MockBackend(engine)
    with contextlib.closing(RunDirectory(Path(path), resume=resume)) as directory:
        plan = planned(groups)
        retry_failed = options.pop("retry_failed", False)
        journal = directory.journal(record, plan, retry_failed=retry_failed, command="run it")
        state = "failed"
        try:
            work = run_groups(
                groups,
                {"draft": backend, "target": backend},
                RunOptions(metrics_interval=0, **options),
                journal,
            )
            records = asyncio.run(work)
            state = "finished"
        finally:
            journal.close()
            directory.ended(state, {})
    return records, engine


def results(records):
    """Everything but times and the order in which samples came by their decisions."""
    found = []
    for record in records:
        plain = msgspec.to_builtins(record)
        for name in ("started", "ended", "waited_seconds"):
            del plain[name]
        for decision in plain["decisions"]:
            del decision["sequence"]
        for totals in plain["calls"].values():
            del totals["queued_seconds"], totals["engine_seconds"]
        found.append(json.dumps(plain, sort_keys=True))
    return found


CHILD = """
import sys, os, resource, signal
sys.path.insert(0, sys.argv[2])
import conftest as runs
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockTurns, make_groups
{prepare}
groups = make_groups(4, 3, MockTurns(runs.OPTIONS))
print("ready", flush=True)
runs.run_in(sys.argv[1], groups, MockEngine(latency=fixed({latency}), cache=False))
print("finished", flush=True)
"""


def child(path, prepare="", latency=0.005):
    script = CHILD.format(prepare=prepare, latency=latency)
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def banked(**options):
    """ATTS with a bank that learns, and its options."""
    return ATTS(
        ATTSOptions(turns=4, draft_tokens=12, target_tokens=12, rate=0.3, **options), RunInfo()
    )


class Killed(ATTS):
    """Kills its process at the end of the third sample of a session."""

    left = 3

    async def run(self, sample, ctx):
        outcome = await super().run(sample, ctx)
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome


def with_bank(path, kind=ATTS):
    """Groups of ATTS with a bank of a file."""
    strategy = banked(calibration="file", bank=path, coverage="marginal")
    strategy.__class__ = kind
    return make_groups(4, 3, strategy)
