"""How long samples wait for each other, over turns and over samples: the paper's claim, tested.

    python -m benchmarks.simulation.waiting

The claim: behind a barrier at every turn, waiting grows exponentially with the number of turns and
linearly with the number of samples. `synchronous` and `atts` run in simulated time on 1 + 2 H100
(R1-Distill-Llama-8B, QwQ-32B), with the built-in summary of published behaviour at rate 0.4. A
sample waits whenever none of its calls is in an engine. A growth by a power is a straight line of
log(waiting) over log(turns), an exponential one over turns itself; the correlation says which.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from atts_harness.records import CallRecord
from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.deployment import place
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import simulate
from atts_harness.simulation.timeline import waiting as seconds_waited

DRAFT, TARGET = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"
QUESTIONS = 8
TURNS = (2, 4, 6, 8, 10, 12, 15)
SAMPLES = (4, 8, 16, 32, 64)
USUAL_TURNS, USUAL_SAMPLES = 15, 16


def waiting(strategy: str, turns: int, repeats: int) -> float:
    """Mean seconds in which a sample has no call in an engine, between its first and its last."""
    calls: list[CallRecord] = []
    settings = parse_settings(
        {
            **{"strategy": strategy, "rate": 0.4, "turns": turns, "metrics_interval": 0},
            **{"backend": "simulated", "draft": DRAFT, "target": TARGET},
        }
    )
    pair = {"draft": shape_of(DRAFT), "target": shape_of(TARGET)}
    deployment = place(pair, gpu_of("h100"), {"draft": 1, "target": 2})
    trace = published_trace(questions=QUESTIONS)
    simulate(settings, trace, deployment, repeats=repeats, observe=calls.append)
    return seconds_waited(calls)


def shape(xs: Sequence[int], ys: Sequence[float]) -> str:
    """Power of growth, and how straight the line is in either scale."""
    logs = [math.log(y) for y in ys]
    steps = [math.log(x) for x in xs]
    power, _ = statistics.linear_regression(steps, logs)
    return (
        f"power {power:.2f}; correlation as a power {statistics.correlation(steps, logs):.3f}, "
        f"as an exponential {statistics.correlation(xs, logs):.3f}"
    )


def main() -> None:
    """Print waiting over turns and over samples."""
    for strategy in ("synchronous", "atts"):
        over = [waiting(strategy, turns, USUAL_SAMPLES) for turns in TURNS]
        words = ", ".join(f"{t}: {w:.2f} s" for t, w in zip(TURNS, over, strict=True))
        print(f"{strategy}, waiting by turns ({USUAL_SAMPLES} samples): {words}", flush=True)
        if all(w > 0 for w in over):
            print(f"  {shape(TURNS, over)}")
        over = [waiting(strategy, USUAL_TURNS, samples) for samples in SAMPLES]
        words = ", ".join(f"{s}: {w:.2f} s" for s, w in zip(SAMPLES, over, strict=True))
        print(f"{strategy}, waiting by samples ({USUAL_TURNS} turns): {words}", flush=True)
        if all(w > 0 for w in over):
            print(f"  {shape(SAMPLES, over)}")


if __name__ == "__main__":
    main()
