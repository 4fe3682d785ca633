r"""Coverage of the mean over these problems at the moment a rule stops sampling.

    nice -n 10 python -m benchmarks.statistics.stopping [--cases N]

Rounds of repeats from two on, at most 256, until the half-width is .03 or .05. Fails if the
interval at the stop covers less than .93 anywhere.
"""

from __future__ import annotations

import argparse

import numpy as np

from atts_harness.analysis.statistics.sequential import next_repeats, precision_of
from benchmarks.statistics.grid import DIFFICULTIES, SIZE, chances

CASES = 1000
CAP = 256


def row(
    difficulty: str, problems: int, half_width: float, cases: int, seed: int = 4
) -> tuple[float, float, float]:
    """Coverage at the stop, mean repeats, share of cases that met the cap."""
    rng = np.random.default_rng([seed, problems, round(1000 * half_width)])
    base = chances(difficulty)
    covered, repeats, capped = [], [], []
    for _ in range(cases):
        chance = base[rng.integers(0, SIZE, problems)]
        count = 2
        right = rng.binomial(count, chance)
        while True:
            now = precision_of(right.tolist(), [count] * problems, half_width)
            after = next_repeats(now, half_width, CAP)
            if after is None:
                break
            right = right + rng.binomial(after - count, chance)
            count = after
        covered.append(abs(now.value - chance.mean()) <= now.here)
        repeats.append(count)
        capped.append(now.here > half_width)
    return float(np.mean(covered)), float(np.mean(repeats)), float(np.mean(capped))


def rows(cases: int = CASES) -> list[tuple[str, int, float, float, float, float]]:
    """Difficulty, problems, half-width, coverage, mean repeats, share at the cap."""
    return [
        (difficulty, problems, half_width, *row(difficulty, problems, half_width, cases))
        for difficulty in DIFFICULTIES
        for problems in (8, 15, 30, 100, 500)
        for half_width in (0.03, 0.05)
    ]


def main() -> None:
    """Simulate, print, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    for difficulty, problems, half_width, covered, repeats, capped in rows(args.cases):
        print(
            f"{difficulty:9} {problems:3} problems, +-{half_width}: covers {covered:.3f} after "
            f"{repeats:.1f} repeats, {capped:.2f} at the cap"
        )
        assert covered >= 0.93, "too little at the stop"


if __name__ == "__main__":
    main()
