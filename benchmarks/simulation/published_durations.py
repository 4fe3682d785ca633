"""The simulator against the durations of a published run: fitted on half, held against the rest.

    python -m benchmarks.simulation.published_durations TRACES.jsonl.gz BANK.npy

The run: ATTS with R1-Distill-Llama-8B and QwQ-32B on 100 MATH-500 questions x 16, question by
question with a barrier, at most 16 drafts and 4 target calls in flight. Its files say how long
each sample took, and nothing of tokens, engines or single calls: tokens are estimated from
characters.

Each question is simulated at every point of a grid: how much slower a step of the target is than
one of the draft, and what a prompt token costs beside a step. Per split the point and one scale
are chosen on half of the questions; makespan, p50 and p95 of the other half are what is compared.
Beside it a plain regression of a sample's seconds on its tokens and turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import Measured, gpu_of
from atts_harness.simulation.deployment import Placement, place
from atts_harness.simulation.reading import read_trace
from atts_harness.simulation.running import simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace

MODELS = {"draft": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "target": "Qwen/QwQ-32B"}
TARGET_STEP = (1.5, 2.5, 4.0)
"""Seconds of a target step by those of a draft step."""
PROMPT_TOKEN = (0.002, 0.01, 0.03)
"""Seconds of a prompt token by those of a step of the same engine."""
SEQUENCE = (0.0, 0.02)
"""Seconds of a further sequence in a step, likewise."""
DRAFT_STEP = 0.02
SPLITS, QUANTILES = 20, (50, 95)

Point = tuple[float, float, float]
Durations = Mapping[int, Sequence[float]]
"""By question the seconds of its samples, in order of repeats."""


def simulated(
    trace: RunTrace, bank: Path, point: tuple[float, float, float]
) -> dict[int, list[float]]:
    """The durations of every question at a point of the grid."""
    slower, prompt, sequence = point

    def pricing(placement: Placement) -> Measured:
        step = DRAFT_STEP * (slower if placement.role == "target" else 1.0)
        return Measured(step, step * sequence, step * prompt, 0.0)

    settings = parse_settings(
        {
            "strategy": "atts",
            "preset": "paper",
            "backend": "simulated",
            "bank": str(bank),
            "target_concurrency": 4,
            "metrics_interval": 0,
            **MODELS,
        }
    )
    pair = {role: shape_of(name) for role, name in MODELS.items()}
    deployment = place(pair, gpu_of("h100"), {"draft": 1, "target": 2})
    durations = {}
    for doc, samples in trace.samples.items():
        one = RunTrace(trace.task, {doc: samples}, {}, trace.chunk, trace.rate)
        result = simulate(settings, one, deployment, repeats=len(samples), pricing=pricing)
        durations[doc] = [record.ended - record.started for record in result.records]
    return durations


def figures(durations: Durations, docs: Sequence[int]) -> tuple[float, float, float]:
    """Makespan with a barrier behind each question, p50 and p95 of the samples."""
    all_ = [seconds for doc in docs for seconds in durations[doc]]
    makespan = sum(max(durations[doc]) for doc in docs)
    p50, p95 = (float(np.percentile(all_, q)) for q in QUANTILES)
    return makespan, p50, p95


def worst(predicted: Sequence[float], real: Sequence[float]) -> list[float]:
    """Relative errors, makespan, p50 and p95."""
    return [abs(f - r) / r for f, r in zip(predicted, real, strict=True)]


def scaled(durations: Durations, factor: float) -> dict[int, list[float]]:
    return {doc: [factor * one for one in seconds] for doc, seconds in durations.items()}


def fitted(
    grid: Sequence[Durations], real: Durations, docs: Sequence[int]
) -> dict[int, list[float]]:
    """The point and the scale that come nearest on some questions."""
    best, least = None, float("inf")
    aims = figures(real, docs)
    for durations in grid:
        # The scale at which the three figures are right in the (geometric) mean.
        ratios = [w / f for w, f in zip(aims, figures(durations, docs), strict=True)]
        factor = statistics.geometric_mean(ratios)
        tried = scaled(durations, factor)
        error = sum(worst(figures(tried, docs), aims))
        if error < least:
            best, least = tried, error
    assert best is not None
    return best


def features(sample: SampleTrace) -> list[float]:
    drafts = sum(turn.draft for turn in sample.turns)
    takeovers = sum(turn.takeover or 0 for turn in sample.turns)
    return [drafts, takeovers, len(sample.turns), 1.0]


def regression(trace: RunTrace, real: Durations, docs: Sequence[int]) -> dict[int, list[float]]:
    """Seconds by tokens of draft and target and turns, fitted on some questions."""
    rows = [features(sample) for doc in docs for sample in trace.samples[doc]]
    seconds = [one for doc in docs for one in real[doc]]
    weights, *_ = np.linalg.lstsq(np.array(rows), np.array(seconds), rcond=None)
    return {
        doc: [float(max(0.0, np.dot(weights, features(sample)))) for sample in samples]
        for doc, samples in trace.samples.items()
    }


def main() -> None:
    """Print the errors over all splits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="the grid's durations, kept between calls")
    args = parser.parse_args()
    whole = read_trace(args.traces)
    docs = list(whole.samples)[: args.questions]
    trace = RunTrace(whole.task, {d: whole.samples[d] for d in docs}, {}, whole.chunk, whole.rate)
    seconds = _seconds(args.traces)
    real = {doc: [seconds[doc, sample.repeat] for sample in trace.samples[doc]] for doc in docs}
    points = list(itertools.product(TARGET_STEP, PROMPT_TOKEN, SEQUENCE))
    simulated_at = json.loads(args.keep.read_text()) if args.keep and args.keep.exists() else {}
    grid = []
    for point in points:
        if str(point) not in simulated_at:
            simulated_at[str(point)] = simulated(trace, args.bank, point)
            if args.keep:
                args.keep.write_text(json.dumps(simulated_at))
        grid.append({int(doc): of_doc for doc, of_doc in simulated_at[str(point)].items()})
        print(f"{len(grid)} of {len(points)} points", flush=True)
    rng = random.Random(1)
    errors: dict[str, list[list[float]]] = {"simulator": [], "regression": []}
    for _ in range(SPLITS):
        order = rng.sample(docs, len(docs))
        train, test = order[: len(docs) // 2], order[len(docs) // 2 :]
        aims = figures(real, test)
        errors["simulator"].append(worst(figures(fitted(grid, real, train), test), aims))
        errors["regression"].append(worst(figures(regression(trace, real, train), test), aims))
    print(f"{'':12}  makespan        p50             p95      (median, worst of {SPLITS} splits)")
    for name, rows in errors.items():
        cells = [
            f"{statistics.median(column):6.1%} {max(column):6.1%}"
            for column in zip(*rows, strict=True)
        ]
        print(f"{name:12}  " + "   ".join(cells))


def _seconds(path: Path) -> dict[tuple[int, int], float]:
    from atts_harness.results.published import read_traces

    return {(t.question_index, t.repeat): t.duration_s or 0.0 for t in read_traces(path)}


if __name__ == "__main__":
    main()
