r"""Nine comparisons of a table at once: do all intervals hold, and is any claim false?

    nice -n 10 python -m benchmarks.statistics.families [--cases N]

Nine methods on the same problems against one reference, each with its own gain (none for all nine
in the second column). Fails if all nine intervals hold in less than .93 of the tables, or if a
table of methods without gain makes a claim in more than .07.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import special

from atts_harness.analysis.statistics import Family, difference_interval
from benchmarks.statistics.grid import SIZE, Floats, chances

METHODS = 9
SIZES = ((8, 4), (8, 16), (12, 4), (30, 1), (30, 4), (30, 16), (100, 4), (500, 4))
CASES = 2000


def table(
    rng: np.random.Generator,
    difficulty: str,
    gains: Floats,
    cases: int,
    problems: int,
    repeats: int,
) -> tuple[Floats, Floats]:
    """Differences of nine methods, shape (methods, cases, problems), and the true means."""
    base = chances(difficulty)
    which = rng.integers(0, SIZE, (cases, problems))
    reference = rng.binomial(repeats, base[which]) / repeats
    rows, truths = [], []
    for gain in gains:
        better = special.expit(special.logit(base) + gain)
        rows.append(rng.binomial(repeats, better[which]) / repeats - reference)
        truths.append(float((better - base).mean()))
    return np.array(rows), np.array(truths)


def rows(cases: int = CASES, seed: int = 5) -> list[tuple[str, int, int, float, float, bool]]:
    """Difficulty, problems, repeats, tables whose intervals all hold, false claims, reach."""
    family = Family(METHODS)
    out = []
    for difficulty in ("easy", "hard", "bimodal"):
        for problems, repeats in SIZES:
            rng = np.random.default_rng([seed, problems, repeats])
            covered, claimed = [], []
            for gains in (np.linspace(-0.8, 1.6, METHODS), np.zeros(METHODS)):
                d, truths = table(rng, difficulty, gains, cases, problems, repeats)
                low, high = difference_interval(d, 1 / repeats, level=family.each)
                inside = (low <= truths[:, None] + 1e-9) & (truths[:, None] - 1e-9 <= high)
                covered.append(float(inside.all(axis=0).mean()))
                claimed.append(float(((low > 0) | (high < 0)).any(axis=0).mean()))
            out.append(
                (difficulty, problems, repeats, covered[0], claimed[1], family.reaches(problems))
            )
    return out


def main() -> None:
    """Simulate, print, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    for difficulty, problems, repeats, covered, claims, reach in rows(args.cases):
        print(
            f"{difficulty:8} {problems:3} x {repeats:2}: all nine hold {covered:.3f}, "
            f"false claims {claims:.3f}{'' if reach else ', out of reach'}"
        )
        assert covered >= 0.93, "too few tables hold"
        assert claims <= 0.07, "too many false claims"
        assert reach or claims == 0, "a claim where none can be made"


if __name__ == "__main__":
    main()
