"""How quick the simulator is, and how its time and memory grow with the number of calls.

    python -m benchmarks.simulation.speed [--largest CALLS] [--live SAMPLES]

AIME24 x 64 (30 questions, 64 samples each) by ATTS at rate 0.4, on one H100 for R1-Distill-
Llama-8B and two for QwQ-32B, with the built-in summary of published behaviour; then the same run
with more or fewer samples. Each size runs in a process of its own, so that its memory is its own,
told as the most in each fifth of the calls. At most `--live` samples are begun and not finished
(`live_samples`; 0: no bound, as a run has it by default): the context of each is in memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

EVERY = 100
"""Calls between two looks at the memory."""
DRAFT, TARGET = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"


def one(problems: int, repeats: int, live: int) -> dict[str, Any]:
    """Simulate once."""
    from atts_harness.settings import parse_settings
    from atts_harness.shapes import shape_of
    from atts_harness.simulation.costs import gpu_of
    from atts_harness.simulation.deployment import place
    from atts_harness.simulation.published import published_trace
    from atts_harness.simulation.running import simulate

    calls = 0
    resident: list[float] = []

    def count(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls % EVERY == 0:
            resident.append(_resident())

    models = {"backend": "simulated", "draft": DRAFT, "target": TARGET, "metrics_interval": 0}
    settings = parse_settings({"strategy": "atts", "rate": 0.4, "live_samples": live, **models})
    pair = {"draft": shape_of(DRAFT), "target": shape_of(TARGET)}
    deployment = place(pair, gpu_of("h100"), {"draft": 1, "target": 2})
    trace = published_trace(questions=30, repeats=16)
    # Once in small, so that no imports are in the time.
    simulate(settings, trace, deployment, repeats=1, problems=1)
    imported = _resident()
    before = time.process_time()
    run = simulate(
        settings,
        trace,
        deployment,
        repeats=repeats,
        problems=problems,
        observe=count,
        keep=False,
    )
    return {
        "samples": run.samples,
        "calls": calls,
        "simulated": run.makespan,
        "cpu": time.process_time() - before,
        "imported_mib": imported,
        "fifths_mib": [
            max(resident[n * len(resident) // 5 : (n + 1) * len(resident) // 5], default=0.0)
            for n in range(5)
        ],
    }


def _resident() -> float:
    """Memory of this process in MiB, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--largest", type=int, default=100_000, help="about so many calls at most")
    parser.add_argument("--live", type=int, default=256, help="live samples at most; 0: no bound")
    parser.add_argument("--one", nargs=2, type=int, metavar=("PROBLEMS", "REPEATS"))
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one, args.live)))
        return
    sizes = [(30, 4), (30, 64), (220, 64), (2200, 64)]
    print(
        "samples    calls   simulated s     CPU s   simulated/CPU   us a call   MiB: before, fifths"
    )
    for problems, repeats in sizes:
        if problems * repeats * 5 > args.largest:
            break
        command = [sys.executable, "-m", "benchmarks.simulation.speed", "--live", str(args.live)]
        command += ["--one", str(problems), str(repeats)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            f"{figures['samples']:7.0f} {figures['calls']:8.0f} {figures['simulated']:13.1f} "
            f"{figures['cpu']:9.1f} {figures['simulated'] / figures['cpu']:15.0f} "
            f"{1e6 * figures['cpu'] / figures['calls']:11.0f} {figures['imported_mib']:12.0f}, "
            f"{' '.join(f'{mib:.0f}' for mib in figures['fifths_mib'])}",
            flush=True,
        )


if __name__ == "__main__":
    main()
