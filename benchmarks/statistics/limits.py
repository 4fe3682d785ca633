r"""What no method can do better: most powerful tests and least widths, on the lattice of repeats.

Two bars that a missed goal is held against. Both are of methods that are told more than any
real one: which two distributions the problems may come from.

- *Power.* A test that calls a method no worse in at most .05 of the cases where it loses in one
  given way has at equal methods at most the power of Neyman and Pearson's test of the two.
- *Width.* An interval leaves a wrong value out with at most the power of the best test of it, so
  its mean width is at least the integral of 1 - power over the values (Pratt 1961, JASA 56; Ghosh
  1961). An interval that covers whatever the differences are has to cover where they are the tilted
  ones, or where a kind of problem is lost (or won) altogether.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from benchmarks.statistics.grid import Floats

CASES = 4000


def best_power(
    truth: Floats, other: Floats, problems: int, alpha: float, rng: np.random.Generator
) -> float:
    """Power at `truth` of the best test that wrongly rejects `other` with chance alpha.

    Args:
        truth: probabilities of a problem's difference, by size.
        other: likewise.
        problems: drawn.
        alpha: size of the test, which may toss a coin at its edge.
        rng: for CASES cases of each.
    """
    tiny = 1e-300
    ratio = np.log(np.maximum(truth, tiny)) - np.log(np.maximum(other, tiny))
    under = rng.multinomial(problems, other, CASES) @ ratio
    at = rng.multinomial(problems, truth, CASES) @ ratio
    cut = np.sort(under)[::-1][int(alpha * CASES)]
    edge = np.abs(under - cut) <= 1e-9
    above = float((under > cut + 1e-9).mean())
    toss = (alpha - above) / float(edge.mean())
    return float((at > cut + 1e-9).mean() + toss * (np.abs(at - cut) <= 1e-9).mean())


def least_width(
    truth: Floats, values: Floats, problems: int, alpha: float, rng: np.random.Generator
) -> float:
    """Least mean width of an interval that misses a true difference with chance alpha at most.

    Args:
        truth: probabilities of a problem's difference.
        values: the differences.
        problems: drawn.
        alpha: what it may miss.
        rng: of the cases.
    """
    mean = float(truth @ values)
    steps = np.linspace(-0.3, 0.3, 81)
    accepted = []
    for step in steps:
        others = [tilted(truth, values, mean + step), lost(truth, values, mean + step)]
        powers = [best_power(truth, one, problems, alpha, rng) for one in others if one is not None]
        accepted.append(1 - min(powers, default=1.0))
    return float(np.trapezoid(accepted, steps))


def tilted(truth: Floats, values: Floats, mean: float) -> Floats | None:
    """The distribution nearest to the truth with another mean; None if there is none."""
    support = values[truth > 1e-12]
    if not support.min() < mean < support.max():
        return None
    low, high = -3000.0, 3000.0
    for _ in range(80):
        middle = (low + high) / 2
        weights = np.where(truth > 1e-12, truth, 0.0) * np.exp(
            np.clip(middle * (values - mean), -600, 600)
        )
        weights /= weights.sum()
        low, high = (middle, high) if weights @ values < mean else (low, middle)
    return np.asarray(weights)


def lost(truth: Floats, values: Floats, mean: float) -> Floats | None:
    """The truth with a kind of problem that one method loses altogether."""
    end = len(values) - 1 if mean > truth @ values else 0
    share = (mean - truth @ values) / (values[end] - truth @ values)
    if not 0 <= share <= 1:
        return None
    mixed = truth * (1 - share)
    mixed[end] += share
    return np.asarray(mixed)


def exact(share: float, problems: int) -> tuple[float, float]:
    """Coverage and mean width of Clopper and Pearson's interval (scipy) of a rate."""
    covered = width = 0.0
    for count in range(problems + 1):
        chance = float(stats.binom.pmf(count, problems, share))
        if chance < 1e-12:
            continue
        interval = stats.binomtest(count, problems).proportion_ci(0.95, method="exact")
        covered += chance * (interval.low <= share <= interval.high)
        width += chance * (interval.high - interval.low)
    return covered, width
