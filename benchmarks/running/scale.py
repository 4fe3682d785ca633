"""Memory and cost at scale: live samples, cost a request by the number of requests, a soak.

    python benchmarks/running/scale.py [--live 10000] [--most 100000]

Everything in this process: a mock engine that answers at once, the journal on disk, the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import tempfile
import time
from pathlib import Path

from atts_harness.backend import Capabilities, GenerateReply, GenerateRequest, InProcess, Usage
from atts_harness.identity import ModelIdentity
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.ledger.sums import Ledger
from atts_harness.records import CallRecord, RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.strategy import Context, Outcome, Sample, Strategy, StrategyOptions
from atts_harness.testing.mock_runs import make_groups
from atts_harness.testing.scripted import ByteTokenizer

WRITTEN = 64
TURNS = 10
MEGA = 1 << 20


class AtOnce(InProcess):
    """A backend that answers at once, always the same."""

    tokenizer = ByteTokenizer()
    max_length = 1 << 20
    capabilities = Capabilities()

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(engine="at-once", model="at-once")

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        await asyncio.sleep(0)
        usage = Usage(prompt_tokens=len(request.ids), completion_tokens=WRITTEN)
        return GenerateReply(ids=(97,) * WRITTEN, ending="length", usage=usage)

    async def aclose(self) -> None:
        """Nothing to close."""


class Drafts(Strategy):
    """So many drafts, one after the other."""

    name = "drafts"
    Options = StrategyOptions

    def __init__(self) -> None:
        """Nothing to choose."""

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        transcript = sample.transcript
        for turn in range(TURNS):
            reply = await ctx.draft.generate(
                transcript, kind="draft", turn=turn, max_tokens=WRITTEN
            )
            transcript += reply.segment
        return ctx.finish(transcript, "turns")


def resident() -> float:
    """Memory in use now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEGA


def run(samples: int, tokens: int, live: int) -> dict[str, float]:
    """Figures of one run of `samples` samples."""
    gc.collect()
    before = resident()
    groups = make_groups(max(1, samples // 16), 16, Drafts(), prompt="{doc} " + "x" * (tokens - 6))
    ledger, control = Ledger(), Control()
    peaks = {"live": 0, "memory": 0.0}
    path: list[tuple[int, float]] = []

    def watch(record: CallRecord) -> None:
        ledger.add_call(record)
        calls = ledger.accounts["draft/draft"].totals.calls
        if calls % 500 == 0:
            peaks["live"] = max(peaks["live"], control.live)
            peaks["memory"] = max(peaks["memory"], resident() - before)
            path.append((calls, resident() - before))

    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        plan = planned(groups)
        journal = directory.journal(RunRecord(), plan)
        work = run_groups(
            groups,
            {"draft": AtOnce()},
            RunOptions(metrics_interval=0, live_samples=live),
            journal,
            Observers([watch], [], [ledger.add_sample]),
            control,
        )
        cpu, wall = time.process_time(), time.perf_counter()
        asyncio.run(work)
        journal.close()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        size = (Path(folder) / "journal.sqlite3").stat().st_size
        directory.close()
    calls = ledger.accounts["draft/draft"].totals.calls
    quarter = [memory for at, memory in path if at > calls / 4] or [0.0]
    return {
        "requests": calls,
        "cpu_ms_per_request": round(1000 * cpu / calls, 3),
        "requests_per_s": round(calls / wall),
        "live_samples": peaks["live"],
        "memory_mib": round(peaks["memory"], 1),
        "memory_growth_over_last_three_quarters_mib": round(quarter[-1] - quarter[0], 1),
        "journal_kib_per_request": round(size / calls / 1024, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--live", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=100_000, help="requests of the soak")
    parser.add_argument("--tokens", type=int, default=2000, help="of a prompt, where many live")
    args = parser.parse_args()
    run(160, 100, 0)  # imports and caches
    print(json.dumps({"what": "many live samples", **run(args.live, args.tokens, 0)}), flush=True)
    requests = 100
    while requests <= args.most:
        samples = max(16, requests // TURNS)
        print(json.dumps({"what": "cost and soak", **run(samples, 200, 256)}), flush=True)
        requests *= 10


if __name__ == "__main__":
    main()
