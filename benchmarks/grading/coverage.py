r"""Coverage of the clustered interval on simulated questions: a Markdown table.

    python benchmarks/grading/coverage.py

Questions have beta-distributed difficulty with a given mean and between-question share of the
variance (.6 and .7 are what the published runs show), 16 repeats each; 1,000 draws a cell. Columns:
number of questions. Each cell: the bounded interval, the plain t interval, and the interval that
takes samples for independent.
"""

from __future__ import annotations

import math

import numpy as np

from atts_harness.analysis.statistics import clustered_mean

DRAWS = 1000
REPEATS = 16
SIZES = (15, 30, 100, 500)
CASES = ((0.826, 0.6), (0.826, 0.7), (0.5, 0.6), (0.3, 0.6), (0.05, 0.6), (0.97, 0.6))


def coverage(mean: float, share: float, questions: int) -> tuple[float, float, float]:
    """Share of draws whose interval holds the mean: bounded, t, naive."""
    rng = np.random.default_rng(0)
    spread = 1 / share - 1
    hits = np.zeros(3)
    for _ in range(DRAWS):
        difficulty = rng.beta(mean * spread, (1 - mean) * spread, questions)
        shares = rng.binomial(REPEATS, difficulty) / REPEATS
        bounded = clustered_mean(shares, range(questions), bounds=(0, 1))
        plain = clustered_mean(shares, range(questions))
        half = 1.96 * math.sqrt(plain.value * (1 - plain.value) / (questions * REPEATS))
        ends = [(bounded.low, bounded.high), (plain.low, plain.high)]
        ends.append((plain.value - half, plain.value + half))
        hits += [low <= mean <= high for low, high in ends]
    bounded_share, plain_share, naive_share = hits / DRAWS
    return float(bounded_share), float(plain_share), float(naive_share)


def main() -> None:
    print("| mean, between-question share | " + " | ".join(map(str, SIZES)) + " |")
    print("|---|" + "---|" * len(SIZES))
    for mean, share in CASES:
        cells = [" / ".join(f"{c:.3f}"[1:] if c < 1 else "1" for c in coverage(mean, share, size))
                 for size in SIZES]  # fmt: skip
        print(f"| {mean}, {share} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
