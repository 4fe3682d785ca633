"""Can few recorded samples say how long the longest of many is? A tail model, on held-back ones.

    python -m benchmarks.simulation.tail TRACES.jsonl.gz

Of each question's recorded samples some are taken as the trace; the longest of all of them, the
held-back ones included, is predicted in two ways and compared:

- lower bound: the longest of the trace, which is what drawing from the trace can give at most;
- fitted tail: lengths by the mean of their question's trace, pooled over questions; a generalised
  Pareto distribution fitted to the exceedances of their upper quarter, and below it the pooled
  lengths themselves. The prediction is the mean of the longest of so many draws.

A relative error is of one question's longest sample; a bias is of their sum over all questions.
Each half of the questions is predicted with a tail that was fitted on the other half.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto

from atts_harness.simulation.reading import read_trace

SPLITS, DRAWS = 20, 400
UPPER = 0.75
"""Quantile of the pooled lengths from which on the tail is fitted."""

Lengths = NDArray[np.float64]


def lengths_of(path: Path) -> Lengths:
    """Tokens of every sample: questions x repeats, of those with all repeats."""
    trace = read_trace(path)
    most = max(len(samples) for samples in trace.samples.values())
    full = [samples for samples in trace.samples.values() if len(samples) == most]
    return np.array([[sample.tokens for sample in samples] for samples in full], dtype=float)


def longest(pooled: Lengths, count: int, draws: int, rng: np.random.Generator) -> float:
    """Mean of the longest of `count` draws from the pooled lengths with a fitted tail."""
    threshold = float(np.quantile(pooled, UPPER))
    beyond = pooled[pooled > threshold] - threshold
    shape, _, scale = genpareto.fit(beyond, floc=0.0)
    body = pooled[pooled <= threshold]
    drawn = rng.choice(body, size=(draws, count))
    upper = rng.random((draws, count)) > UPPER
    tail = genpareto.rvs(shape, scale=scale, size=int(upper.sum()), random_state=rng)
    drawn[upper] = threshold + tail
    return float(drawn.max(axis=1).mean())


def errors(
    lengths: Lengths, recorded: int, rng: np.random.Generator
) -> Iterator[tuple[Lengths, Lengths, Lengths]]:
    """Longest of all samples, and both predictions, for each half of the questions."""
    questions, repeats = lengths.shape
    columns = rng.permuted(np.tile(np.arange(repeats), (questions, 1)), axis=1)
    trace = np.take_along_axis(lengths, columns[:, :recorded], axis=1)
    means = np.maximum(trace.mean(axis=1), 1.0)
    order = rng.permutation(questions)
    for half, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        pooled = (trace[other] / means[other, None]).ravel()
        factor = longest(pooled, repeats, DRAWS, rng)
        yield lengths[half].max(axis=1), trace[half].max(axis=1), means[half] * factor


def main() -> None:
    """Print errors and bias of both, by the number of recorded samples."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("traces", type=Path)
    args = parser.parse_args()
    lengths = lengths_of(args.traces)
    repeats = lengths.shape[1]
    print(f"{len(lengths)} questions x {repeats}; longest of {repeats} from fewer, {SPLITS} splits")
    print("recorded   lower bound: median error, bias   fitted tail: median error, bias")
    for recorded in (2, 4, 8):
        rng = np.random.default_rng(recorded)
        halves = [half for _ in range(SPLITS) for half in errors(lengths, recorded, rng)]
        true = np.concatenate([half[0] for half in halves])
        words = []
        for predicted in (np.concatenate([half[n] for half in halves]) for n in (1, 2)):
            median = np.median(np.abs(predicted - true) / true)
            words.append(f"{median:6.1%}, {predicted.sum() / true.sum() - 1:+6.1%}")
        print(f"{recorded:8d}   {words[0]:>32s}   {words[1]:>32s}", flush=True)


if __name__ == "__main__":
    main()
