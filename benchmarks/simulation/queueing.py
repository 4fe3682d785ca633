"""A simulated engine alone against queueing theory: M/D/1 and M/G/1.

    python -m benchmarks.simulation.queueing

Requests arrive by a Poisson process and are served one at a time. A step takes a second, and a
request as many steps as it writes tokens. The mean wait is lambda E[S^2] / (2 (1 - rho)), as
Pollaczek and Khinchine have it. The interval is 99 %, by means of 50 batches; it must hold
theory's value and be narrower than 2 % to either side.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence

from scipy.stats import t

from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costs import Measured
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits

STEP = Measured(step=1.0, sequence=0.0, prompt_token=0.0, pair=0.0)
SERVICES: dict[str, Sequence[int]] = {"M/D/1": (1,), "M/G/1": (1, 1, 1, 5)}
"""Service times in steps, equally likely."""
LOADS = (0.2, 0.35, 0.5)
REQUESTS, BATCHES = 400_000, 50
WIDEST = 0.02
"""Half the width of an interval, by theory's value, must be less."""


def waits(service: Sequence[int], load: float, requests: int, seed: int) -> list[float]:
    """Seconds that each request waited, in order of arrival."""
    rng = random.Random(seed)
    rate = load / statistics.fmean(service)
    seconds = [0.0] * requests

    async def ask(engine: SimulatedEngine, number: int, steps: int) -> None:
        loop = asyncio.get_running_loop()
        came = loop.time()
        await engine.generate((1, 2), (3,) * steps)
        seconds[number] = loop.time() - came - steps

    async def work() -> None:
        limits = EngineLimits(kv_tokens=10_000, max_num_seqs=1, prefix_cache=False)
        engine = SimulatedEngine(STEP, limits)
        open_ = set()
        for number in range(requests):
            await asyncio.sleep(rng.expovariate(rate))
            task = asyncio.create_task(ask(engine, number, rng.choice(service)))
            open_.add(task)
            task.add_done_callback(open_.discard)
        await asyncio.gather(*open_)

    run_simulated(work())
    return seconds


def main() -> None:
    """Print a line for each queue and load; fail where theory lies outside the interval."""
    print("queue   load   theory    simulated   99 % interval       half-width")
    outside = wide = 0
    for name, service in SERVICES.items():
        for load in LOADS:
            # Rare waits, and services that differ, need more requests for the same width.
            few = load >= 0.35 and len(set(service)) == 1
            seconds = waits(service, load, REQUESTS if few else 2 * REQUESTS, seed=7)
            size = len(seconds) // BATCHES
            means = [statistics.fmean(seconds[n * size : (n + 1) * size]) for n in range(BATCHES)]
            mean = statistics.fmean(means)
            half = t.ppf(0.995, BATCHES - 1) * statistics.stdev(means) / BATCHES**0.5
            square = statistics.fmean(s * s for s in service)
            theory = load / statistics.fmean(service) * square / (2 * (1 - load))
            outside += not mean - half <= theory <= mean + half
            wide += half >= WIDEST * theory
            print(
                f"{name}   {load:.2f}   {theory:.4f}    {mean:.4f}      "
                f"[{mean - half:.4f}, {mean + half:.4f}]    {half / theory:.2%}"
            )
    if outside or wide:
        raise SystemExit(f"{outside} queues differ from theory, {wide} intervals are too wide")


if __name__ == "__main__":
    main()
