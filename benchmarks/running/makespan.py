"""Makespan against what no schedule can beat, and against other schedules of the same work.

    python benchmarks/running/makespan.py [--problems 100 500] [--slots 16 64]

The harness itself runs, on mock engines in simulated time; then the very same calls, with the
seconds they took, are scheduled first come, first served with everything live, and as published,
with a barrier after each problem. `per slot` is the work over the slots of the busiest engine,
`longest` the longest chain of one sample.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from schedules import Step, barrier, bound, first_come

from atts_harness.records import CallRecord, SampleId
from atts_harness.running.observers import Observers
from atts_harness.testing.mock_engine import MockEngine, full_length
from atts_harness.testing.mock_latency import by_sort, lognormal
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups, simulate

REPEATS = 16
# Seconds of a 500-token draft or takeover, and of a score; the spread is that of real engines.
LAW = by_sort({"generate": lognormal(5.0, 0.5), "score": lognormal(0.3, 0.5)})
OPTIONS = MockOptions(turns=15, draft_tokens=4, target_tokens=4, ending=0.2, rate=0.4)


def measure(problems: int, slots: int, shared: bool, live: int) -> dict[str, Any]:
    began = time.perf_counter()
    groups = make_groups(problems, REPEATS, MockTurns(OPTIONS))
    chains: dict[SampleId, list[Step]] = {
        sample.id: [] for group in groups for sample in group.samples
    }

    def watch(record: CallRecord) -> None:
        name = "draft" if shared else record.key.role
        chains[record.key.sample].append(Step(name, record.done - record.sent))

    def engine(seed: int) -> MockEngine:
        return MockEngine(
            slots=slots, latency=LAW, writer=full_length(), cache=False, keep_log=False, seed=seed
        )

    draft = engine(1)
    target = None if shared else engine(2)
    bounds = dict.fromkeys(
        ("draft_concurrency", "score_concurrency", "takeover_concurrency"), slots
    )
    _, ours = simulate(
        groups,
        draft,
        target,
        observers=Observers(call=[watch]),
        engine_concurrency=slots,
        live_samples=live,
        timeout=1e6,
        **bounds,
    )
    room = {"draft": slots} if shared else {"draft": slots, "target": slots}
    every = list(chains.values())
    by_problem = [[chains[s.id] for s in group.samples] for group in groups]
    best = bound(every, room)
    fcfs = first_come(every, room)
    published = barrier(by_problem, room)
    return {
        "problems": problems,
        "slots": slots,
        "engines": "shared" if shared else "two",
        "live": live or "all",
        "calls": sum(map(len, every)),
        "per_slot": round(best.per_slot, 1),
        "longest": round(best.longest, 1),
        "ours": round(ours, 1),
        "over_bound": round(ours / best.seconds, 3),
        "over_fcfs": round(ours / fcfs, 3),
        "published_over_ours": round(published / ours, 2),
        "work_bound": best.per_slot >= 8 * best.longest,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--slots", type=int, nargs="+", default=[16, 64])
    args = parser.parse_args()
    figures = []
    for problems in args.problems:
        for slots in args.slots:
            cases = [(True, 0), (False, 0)]
            if problems == min(args.problems):
                # What the bound that protects an engine's KV memory costs.
                cases += [(True, live) for live in (slots, 2 * slots, 4 * slots)]
            for shared, live in cases:
                figures.append(measure(problems, slots, shared, live))
                print(json.dumps(figures[-1]), flush=True)
    bound_by_work = [f["over_bound"] for f in figures if f["work_bound"] and f["live"] == "all"]
    others = [f["over_fcfs"] for f in figures if not f["work_bound"] and f["live"] == "all"]
    if bound_by_work:
        worst = max(bound_by_work)
        print(f"work-bound cases, everything live: at most {worst} x the bound (goal 1.10)")
    if others:
        print(f"other cases: at most {max(others)} x first come, first served (goal 1.15)")


if __name__ == "__main__":
    main()
