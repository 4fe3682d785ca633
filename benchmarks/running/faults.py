"""Every fault at 10 % over HTTP, request by request, and an engine that is gone for a minute.

    python benchmarks/running/faults.py [--problems 20] [--gone 60]

The mock engine serves both dialects; the real clients talk to it. For each fault the run must
complete, and three books must agree: the mock's own fault log, the ledger (with the journal's
record of every try), and the engine's counters as its `/metrics` tells them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from typing import Any

import aiohttp

from atts_harness.backend import Backend, BackendSpec
from atts_harness.journal.contract import MemoryJournal
from atts_harness.ledger.sums import Ledger
from atts_harness.running.batch import run_groups
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_faults import FAULTS, FaultPlan, request_key
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups
from atts_harness.testing.mock_server import MockServer
from atts_harness.testing.scripted import ByteTokenizer

AS_SEEN = {
    "500": "BackendUnavailableError",
    "429": "BackendUnavailableError",
    "reset": "BackendUnavailableError",
    "timeout": "BackendTimeoutError",
    "truncated": "MalformedReplyError",
    "nan": "MalformedReplyError",
    "length": "MalformedReplyError",
}
STRATEGY = MockOptions(turns=4, draft_tokens=16, target_tokens=16, ending=0.0)
Books = dict[str, list[str]]


async def connect(dialect: str, url: str) -> Backend:
    """The real client, on the mock's byte tokenizer."""
    module = __import__(f"atts_{dialect}.backend", fromlist=["open_tokenizer"])
    module.open_tokenizer = lambda spec, served: ByteTokenizer()
    kind = __import__(f"atts_{dialect}.plugin", fromlist=["KIND"]).KIND
    backend: Backend = await kind.open(BackendSpec(dialect, None, kind.options(url=url)))
    return backend


async def counters(url: str) -> dict[str, float]:
    """The engine's figures by their last words: `prompt_tokens_total`, ..."""
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
        text = await response.text()
    return {name: float(value) for name, value in re.findall(r":(\w+)\{.*\} (\S+)", text)}


def unbooked_tries(seen: Books, booked: Books) -> tuple[Counter[Any], int]:
    """Tries that the engine saw and nobody booked; and how many were booked that it did not see."""
    served, written = (
        Counter((key, tried) for key, tries in books.items() for tried in tries)
        for books in (seen, booked)
    )
    return served - written, (written - served).total()


async def one_fault(dialect: str, fault: Any, problems: int, patience: float) -> dict[str, Any]:
    engine = MockEngine(slots=64)
    async with MockServer(engine, dialect) as server:  # type: ignore[arg-type]
        backend = await connect(dialect, server.url)
        # Who answers is asked by scoring a fixed text, now and after whatever may be a restart.
        probes = {entry.key for entry in engine.log}
        engine.log.clear()
        before = await counters(server.url)
        engine.faults = FaultPlan({fault: 0.1}, retry_after=0.5)
        journal, ledger = MemoryJournal(), Ledger()
        groups = make_groups(problems, 4, MockTurns(STRATEGY))
        records = await run_groups(
            groups,
            {"draft": backend, "target": backend},
            # Only where it is waited for is the limit short: a busy machine is late, too.
            RunOptions(
                timeout=patience if fault == "timeout" else 120.0, retries=20, metrics_interval=0
            ),
            journal,
            Observers([ledger.add_call], [], [ledger.add_sample]),
        )
        after = await counters(server.url)
        await backend.aclose()
    log = [entry for entry in engine.log if entry.key not in probes]
    seen: Books = {}
    for entry in log:
        outcome = AS_SEEN[entry.fault] if entry.fault else "served"
        seen.setdefault(entry.key, []).append(outcome)
    booked: Books = {}
    for call in journal.calls():
        tries = booked.setdefault(request_key(call.request_hash), [])
        tries += [f.error for f in call.faults] + ["served"] * (call.reply is not None)
    accounts = ledger.accounts.values()
    injected = sum(entry.fault is not None for entry in log)
    # What was spoilt on its way back had been worked for; only the engine knows of that.
    worked = (None, "truncated", "nan", "length")
    unbooked = sum(e.prompt for e in log if e.fault in worked[1:])
    unbooked += sum(e.prompt for e in engine.log if e.key in probes and e.fault in worked)
    # A failure to ask who answers belongs to no call; a call that met one may have gone unsent.
    refused = sum(e.fault is not None for e in engine.log if e.key in probes)
    # A reset of a connection that was used before is sent again at once; it is not a try.
    unseen, unsent = unbooked_tries(seen, booked)
    faults = sum((a.faults for a in accounts), Counter()).total()
    calls = sum(a.totals.calls for a in accounts)
    read = after["prompt_tokens_total"] - before["prompt_tokens_total"]
    return {
        "dialect": dialect,
        "fault": fault,
        "requests": len(log),
        "injected": injected,
        "samples_failed": sum(record.failed is not None for record in records),
        "log_and_journal_agree": unsent <= refused and (fault == "reset" or not unseen),
        "log_and_ledger_agree": faults == injected + unsent - unseen.total()
        and calls == len(log) - injected,
        "counters_and_ledger_agree": sum(a.totals.prompt_tokens for a in accounts) + unbooked
        == read,
    }


async def gone(dialect: str, seconds: float, problems: int) -> dict[str, Any]:
    engine, control = MockEngine(slots=16), Control()
    async with MockServer(engine, dialect) as server:  # type: ignore[arg-type]
        backend = await connect(dialect, server.url)
        engine.latency = fixed(0.05)

        async def meanwhile() -> None:
            await asyncio.sleep(1.0)
            await server.go_away()
            await asyncio.sleep(seconds)
            await server.come_back()

        leaving = asyncio.create_task(meanwhile())
        ledger = Ledger()
        records = await run_groups(
            make_groups(problems, 4, MockTurns(STRATEGY)),
            {"draft": backend, "target": backend},
            RunOptions(retries=3, metrics_interval=0),
            MemoryJournal(),
            Observers([ledger.add_call]),
            control,
        )
        await leaving
        await backend.aclose()
    outages = [outage for e in control.engines for outage in e.outages]
    return {
        "dialect": dialect,
        "gone_for": seconds,
        "samples": len(records),
        "samples_failed": sum(record.failed is not None for record in records),
        "waited": [round((o.ended or 0) - o.began, 1) for o in outages],
        "tries_while_gone": sum(a.faults.total() for a in ledger.accounts.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--gone", type=float, default=60.0)
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        help="seconds until a reply that never comes is given up; more on a busy machine",
    )
    args = parser.parse_args()
    bad = False
    for dialect in ("sglang", "vllm"):
        for fault in FAULTS:
            figures = asyncio.run(one_fault(dialect, fault, args.problems, args.timeout))
            print(json.dumps(figures), flush=True)
            bad |= figures["samples_failed"] > 0 or not figures["log_and_journal_agree"]
            bad |= not figures["log_and_ledger_agree"]
            bad |= not figures["counters_and_ledger_agree"]
        figures = asyncio.run(gone(dialect, args.gone, args.problems))
        print(json.dumps(figures), flush=True)
        bad |= figures["samples_failed"] > 0
    raise SystemExit(int(bad))


if __name__ == "__main__":
    main()
