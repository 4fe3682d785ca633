r"""Coverage and width of the interval of a paired difference.

    nice -n 10 python -m benchmarks.statistics.differences [--cases N]

Fails if an interval covers less than .93 with 8 or more problems, less than .90 with 6, leaves
[-1, 1] or has no width; with 30 or more, if it covers more than .985 or is wider than 1.3 times the
interval of an oracle that knows the variance. Only cells whose true variance is zero are exempt
from these two. `limits.py` says what any method can reach where one is missed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

from atts_harness.analysis.statistics import difference_interval
from benchmarks.statistics.grid import PROBLEMS, REPEATS, Floats, populations
from benchmarks.statistics.limits import exact, least_width

CASES = 4000


@dataclass(frozen=True)
class Cell:
    """One population at one size.

    Attributes:
        name: difficulty and gain.
        problems: a case.
        repeats: a problem.
        truth: the true difference.
        expected: problems that are expected to show a difference.
        covered: share of cases whose interval holds the truth; `before` of Student's t.
        width: mean width over the oracle's; NaN where the true variance is zero.
        before_width: likewise of Student's t.
        mean_width: mean width itself.
        narrowest: smallest width.
    """

    name: tuple[str, str]
    problems: int
    repeats: int
    truth: float
    expected: float
    covered: float
    before: float
    width: float
    before_width: float
    mean_width: float
    narrowest: float


def student(d: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Student's t interval over problems, as it was used before."""
    n = d.shape[-1]
    half = stats.t.ppf(0.5 + level / 2, n - 1) * d.std(axis=-1, ddof=1) / np.sqrt(n)
    return d.mean(axis=-1) - half, d.mean(axis=-1) + half


def cells(cases: int = CASES, seed: int = 4049) -> list[Cell]:
    """Every cell of the grid."""
    grid = []
    for number, population in enumerate(populations()):
        for problems in PROBLEMS:
            for repeats in REPEATS:
                rng = np.random.default_rng([seed, number, problems, repeats])
                d = population.draw(rng, cases, problems, repeats)
                low, high = difference_interval(d, 1 / repeats)
                old_low, old_high = student(d)
                truth, deviation = population.difference, population.deviation(repeats)
                oracle = 2 * stats.norm.ppf(0.975) * deviation / np.sqrt(problems)
                some = oracle if oracle > 0 else np.nan
                assert low.min() >= -1, "an interval leaves its range"
                assert high.max() <= 1, "an interval leaves its range"
                grid.append(
                    Cell(
                        name=population.name,
                        problems=problems,
                        repeats=repeats,
                        truth=truth,
                        expected=problems * population.differing(repeats),
                        covered=share(low, high, truth),
                        before=share(old_low, old_high, truth),
                        width=float((high - low).mean() / some),
                        before_width=float((old_high - old_low).mean() / some),
                        mean_width=float((high - low).mean()),
                        narrowest=float((high - low).min()),
                    )
                )
    return grid


@dataclass(frozen=True)
class Limit:
    """What any interval can reach in a cell where a bound is missed, over the oracle's width.

    Attributes:
        cell: the cell.
        least: least mean width if it covers .93, whatever the differences are.
        nominal: likewise if it covers .95.
        exact_covered: coverage of Clopper and Pearson's interval, which is told that differences
            have one sign; NaN with more than one repeat.
        exact_width: its mean width.
    """

    cell: Cell
    least: float
    nominal: float
    exact_covered: float
    exact_width: float


def limits(grid: list[Cell], seed: int = 1) -> list[Limit]:
    """For every cell that misses an upper bound."""
    by_name = {p.name: p for p in populations()}
    out = []
    for cell in grid:
        if cell.problems < 30 or not np.isfinite(cell.width):
            continue
        if cell.covered <= 0.985 and cell.width <= 1.3:
            continue
        population, k = by_name[cell.name], cell.repeats
        truth, values = population.chances(k), np.arange(-k, k + 1) / k
        oracle = 2 * stats.norm.ppf(0.975) * population.deviation(k) / np.sqrt(cell.problems)
        rng = np.random.default_rng([seed, cell.problems, k])
        widths = [least_width(truth, values, cell.problems, a, rng) for a in (0.07, 0.05)]
        covered, width = exact(cell.truth, cell.problems) if k == 1 else (np.nan, np.nan)
        out.append(Limit(cell, widths[0] / oracle, widths[1] / oracle, covered, width / oracle))
    return out


def share(low: Floats, high: Floats, truth: float) -> float:
    """Share of intervals that hold the truth, the rounding of a lattice forgiven."""
    return float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean())


def faults(grid: list[Cell]) -> list[str]:
    """What does not hold, in words."""
    wrong = []
    for cell in grid:
        label = f"{', '.join(cell.name)}, {cell.problems} x {cell.repeats}"
        if cell.covered < (0.93 if cell.problems >= 8 else 0.90):
            wrong.append(f"{label}: covers {cell.covered:.3f}")
        if cell.narrowest <= 0:
            wrong.append(f"{label}: an interval without width")
        if cell.problems >= 30 and np.isfinite(cell.width):  # no variance, no bound
            if cell.covered > 0.985:
                wrong.append(f"{label}: covers {cell.covered:.3f}, more than .985")
            if cell.width > 1.3:
                wrong.append(f"{label}: {cell.width:.2f} times as wide as the oracle")
    return wrong


def main() -> None:
    """Simulate, print, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    began = time.process_time()
    grid = cells(args.cases)
    for cell in grid:
        print(
            f"{cell.name[0]:9} {cell.name[1]:9} {cell.problems:3} x {cell.repeats:2}: "
            f"covers {cell.covered:.3f} (was {cell.before:.3f}), width / oracle {cell.width:.2f} "
            f"(was {cell.before_width:.2f}), {cell.expected:.1f} expected to differ"
        )
    print(f"{len(grid)} cells of {args.cases} cases, {time.process_time() - began:.0f} s of CPU")
    wrong = faults(grid)
    assert not wrong, "\n".join(wrong)


if __name__ == "__main__":
    main()
