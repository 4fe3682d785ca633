"""`kill -9` at random moments: nothing committed is lost or repeated, and the end is the same.

    python benchmarks/running/kills.py [--kills 50] [--seed 0] [--draft-ahead]

A run on a mock engine, in a process of its own, is killed at a random moment and started again,
until it has been killed so often; then it is let finish. After each kill the journal is opened
and checked. The results are compared with those of a run that nobody killed.

`--draft-ahead` runs ATTS so, with a bank file, and compares with the plain order: texts, segments
and decisions. What was thrown away depends on the moment, so calls are not compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.errors import RunDirError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.journal.reader import open_run
from atts_harness.records import RunRecord, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.settings import RunOptions
from atts_harness.strategy import RunInfo, Strategy
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_latency import lognormal
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

STRATEGY = MockOptions(turns=8, draft_tokens=16, target_tokens=16, ending=0.1)


def ahead(bank: Path, *, plain: bool = False) -> ATTS:
    """ATTS with a file bank at rate 0.3, drafting ahead or not."""
    if not bank.exists():
        write_bank(bank_of((n, 0, n / 20) for n in range(1, 21)), bank)
    return ATTS(
        ATTSOptions(
            turns=8,
            draft_tokens=16,
            target_tokens=16,
            bank=str(bank),
            coverage="marginal",
            rate=0.3,
            draft_ahead=not plain,
        ),
        RunInfo(),
    )


def produce(
    folder: Path, problems: int, seconds: float, strategy: Strategy | None = None
) -> list[SampleRecord]:
    """One session of the run."""
    engine = MockEngine(slots=8, latency=lognormal(seconds, 0.5), cache=False)
    backend = MockBackend(engine)
    groups = make_groups(problems, 4, strategy or MockTurns(STRATEGY))
    directory = RunDirectory(folder)
    plan = planned(groups)
    journal = directory.journal(RunRecord(strategy=groups[0].strategy.name), plan)
    work = run_groups(
        groups, {"draft": backend, "target": backend}, RunOptions(metrics_interval=0), journal
    )
    records = asyncio.run(work)
    journal.close()
    directory.ended("finished", {})
    directory.close()
    return records


def results(folder: Path, *, calls: bool = True) -> list[str]:
    """Everything but times and the order of decisions among samples; calls too, if asked."""
    records = []
    with open_run(folder) as run:
        for record in run.samples():
            plain = msgspec.to_builtins(record)
            for name in ("started", "ended", "waited_seconds"):
                del plain[name]
            for decision in plain["decisions"]:
                del decision["sequence"]
            if not calls:
                del plain["calls"], plain["notes"]
            for totals in plain.get("calls", {}).values():
                del totals["queued_seconds"], totals["engine_seconds"]
            records.append(json.dumps(plain, sort_keys=True))
    return records


def committed(folder: Path) -> dict[str, str]:
    """Recorded calls, by key, with what they say."""
    with open_run(folder) as run:
        return {str(call.key): str(call) for call in run.calls()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a call")
    parser.add_argument("--draft-ahead", action="store_true", help="see above")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print("begun", flush=True)
        bank = args.child.with_name("bank.json")
        policy = ahead(bank) if args.draft_ahead else None
        produce(args.child, args.problems, args.seconds, policy)
        return

    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = Path(temporary, "whole"), Path(temporary, "killed")
        bank = Path(temporary, "bank.json")
        plain, policy = (ahead(bank, plain=True), ahead(bank)) if args.draft_ahead else (None, None)
        produce(whole, args.problems, 0.0, plain)
        calls: dict[str, str] = {}
        kills = unborn = 0
        while kills < args.kills:
            command = [sys.executable, __file__, "--child", str(killed)]
            command += ["--problems", str(args.problems), "--seconds", str(args.seconds)]
            command += ["--draft-ahead"] if args.draft_ahead else []
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.0, 1.0))
            if process.poll() is not None:
                raise SystemExit(f"the run was over after {kills} kills: more --problems")
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            try:
                now = committed(killed)
            except RunDirError:
                unborn += 1  # killed before there was a run
                continue
            lost = {key for key, call in calls.items() if now.get(key) != call}
            if lost:
                raise SystemExit(f"kill {kills}: {len(lost)} committed calls lost or changed")
            check = sqlite3.connect(killed / "journal.sqlite3")
            (verdict,) = check.execute("PRAGMA integrity_check").fetchone()
            check.close()
            if verdict != "ok":
                raise SystemExit(f"kill {kills}: {verdict}")
            calls = now
        produce(killed, args.problems, 0.0, policy)
        after, reference = committed(killed), committed(whole)
        outcome = {
            "kills": kills,
            "before_the_run_began": unborn,
            "calls": len(reference),
            "committed_before_the_last_session": len(calls),
            "lost_or_changed": sum(after.get(key) != call for key, call in calls.items()),
            "calls_made_twice": 0 if args.draft_ahead else len(after) - len(reference),
            "results_identical": results(killed, calls=not args.draft_ahead)
            == results(whole, calls=not args.draft_ahead),
        }
    print(json.dumps(outcome))
    if outcome["lost_or_changed"] or outcome["calls_made_twice"]:
        raise SystemExit(1)
    if not outcome["results_identical"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
