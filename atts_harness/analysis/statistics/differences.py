r"""Two methods on the same problems: the mean difference over problems drawn like these.

A problem's difference d is the mean of its repeats under the first method minus that under the
second, in [-1, 1]. Student's t on the d alone fails where people look at it most: few problems, of
which few differ. Eight ties give an interval of no width, and a kind of problem that makes up a
tenth of the benchmark is missing from eight problems four times in ten.

So pseudo-problems are added, as Agresti and Coull (1998, The American Statistician 52), and for
pairs Agresti and Min (2005, Statistics in Medicine 24) and Bonett and Price (2012, Journal of
Educational and Behavioral Statistics 37) add them: in equal numbers on both sides, so that the
centre stays. Two things are new here because repeats make d finer than -1, 0, 1:

- *How far out they lie.* At the typical size of a difference that shows,
  e^2 = sum d^4 / sum d^2 (a difference counts by its square). While hardly any problem differs, at
  u / (1 + x)^1.5, with u half of the range (all of it with one repeat) and
  x = (sum d^2)^2 / sum d^4 the effective number of problems that differ. And below thirty problems
  never nearer than u, or (12 / n)^2 where that is less: a kind of problem that was not drawn may
  differ by as much, and such a kind comes to be drawn as n grows.
- *How many they are.* 1 + 1 / (1 + x): two where no problem differs, one where many do. Two is
  what no difference in n problems needs: an interval that reaches 2.8 u / n holds every rate of
  differences that would leave no trace in more than 6 % of the samples (the rule of three, as a
  two-sided interval).

The centre moves by half of Johnson's (1978, JASA 73) and Hall's (1992, Journal of the Royal
Statistical Society B 54) correction for skewness, (2 t^2 + 1) / 6 times the third central moment
over the second, over n. All of it is right where one method wins on a few problems and never
loses, and too much where both win on a few.

With n problems whose differences all have one sign, no test can have p below 2^(1-n). Where the
level asks for less, the interval always holds 0, and `difference_p` never goes below.

`benchmarks/statistics` measures what this is worth; `docs/statistics.md` shows it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atts_harness.analysis.statistics.clusters import (
    Estimate,
    Floats,
    cluster_means,
    divided,
    grouped,
    student_t,
)

ENOUGH = 30
"""Number of problems from which on the sample itself shows how large differences can be."""

TWO_SIDED = 0.5
"""Share of the correction for skewness that two-sided intervals take."""


def paired_difference(
    first: ArrayLike,
    first_clusters: Sequence[Hashable],
    second: ArrayLike,
    second_clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Estimate:
    """Mean of `first` minus mean of `second`, over problems drawn like those that both have.

    Pairing by problem removes the variance between problems, which is most of it. Numbers of
    repeats may differ; the problems must be the same.

    Args:
        first: shape (items of the first method,), values in [0, 1], as right or wrong.
        first_clusters: their problems.
        second: shape (items of the second method,).
        second_clusters: their problems.
        level: nominal coverage.

    Returns:
        The difference with the interval of this module; its standard error is the plain clustered
        one.

    Raises:
        ValueError: a problem is in one method only (the message names some), or a value lies
            outside [0, 1].
    """
    differences, grain = problem_differences(first, first_clusters, second, second_clusters)
    value, count = float(differences.mean()), int(differences.size)
    items = len(first_clusters) + len(second_clusters)
    if count < 2:
        return Estimate(value, None, None, None, level, items, count)
    stderr = float(differences.std(ddof=1) / np.sqrt(count))
    low, high = difference_interval(differences, grain, level=level)
    return Estimate(value, stderr, float(low), float(high), level, items, count)


def problem_differences(
    first: ArrayLike,
    first_clusters: Sequence[Hashable],
    second: ArrayLike,
    second_clusters: Sequence[Hashable],
) -> tuple[Floats, float]:
    """Each problem's difference, in order of the first method, and the grain of the values.

    Returns:
        Differences, shape (problems,); and the mean of 1 / repeats over problems and methods, as
        `difference_interval` takes it.

    Raises:
        ValueError: as `paired_difference`.
    """
    sides: list[dict[Hashable, float]] = []
    grains = []
    for values, clusters in ((first, first_clusters), (second, second_clusters)):
        data, codes = grouped(values, clusters)
        if data.min() < 0 or data.max() > 1:
            raise ValueError("paired_difference needs values in [0, 1]")
        means = cluster_means(data, clusters)
        sides.append(dict(zip(dict.fromkeys(clusters), means.tolist(), strict=True)))
        grains.append(float((1 / np.bincount(codes)).mean()))
    left, right = sides
    if left.keys() != right.keys():
        odd = sorted(map(str, left.keys() ^ right.keys()))
        raise ValueError(
            f"paired_difference needs the same questions on both sides; {len(odd)} are on one "
            f"side only, such as {', '.join(odd[:3])}"
        )
    return np.array([left[q] - right[q] for q in left]), sum(grains) / 2


def difference_interval(
    differences: ArrayLike, grain: float, *, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Interval of the mean difference; the last axis is problems, others are separate cases.

    Args:
        differences: shape (..., problems), each in [-1, 1], at least two problems.
        grain: mean of 1 / repeats: 1 for one sample a problem, 1/16 for sixteen.
        level: nominal coverage.

    Returns:
        Lower and upper ends, each of shape (...), within [-1, 1].

    Raises:
        ValueError: fewer than two problems, or level outside (0, 1).
    """
    d = checked(differences)
    n = d.shape[-1]
    low, high = ends(*moments(d, pseudo(d, grain)), n, student_t(level, n))
    if not reachable(n, level):
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return low, high


def difference_p(differences: ArrayLike, grain: float) -> float:
    """The level at which `difference_interval` would just leave 0 out: a two-sided p-value.

    Args:
        differences: shape (problems,), as for `difference_interval`.
        grain: likewise.

    Returns:
        In (0, 1].
    """
    d = checked(differences)
    n = d.shape[-1]
    mean, error, skew = moments(d, pseudo(d, grain))
    if mean < 0:
        mean, skew = -mean, -skew
    # The lower end falls as t grows; bisection finds the t at which it is 0.
    below, above = 0.0, 1e6
    for _ in range(80):
        middle = (below + above) / 2
        low, _ = ends(mean, error, skew, n, middle)
        below, above = (middle, above) if low > 0 else (below, middle)
    return float(np.clip(2 * stats.t.sf(below, n - 1), 2.0 ** (1 - n), 1.0))


def reachable(problems: int, level: float) -> bool:
    """Whether so many problems can tell two methods apart at a level at all."""
    return 2.0 ** (1 - problems) <= (1 - level) * (1 + 1e-9)


def checked(differences: ArrayLike) -> Floats:
    """Differences as an array.

    Raises:
        ValueError: fewer than two problems.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim == 0 or d.shape[-1] < 2:
        raise ValueError("an interval needs two problems")
    return d


def sizes(d: Floats) -> tuple[Floats, Floats]:
    """The square of a typical nonzero difference, and how many problems have one.

    Args:
        d: differences, shape (..., problems).

    Returns:
        sum d^4 / sum d^2 and (sum d^2)^2 / sum d^4, each of shape (...), 0 where none differs.
    """
    squares = d * d
    total = squares.sum(axis=-1)
    size = divided((squares * squares).sum(axis=-1), total, 0.0)
    return size, divided(total, size, 0.0)


def pseudo(d: Floats, grain: float) -> Floats:
    """Sum of squares that pseudo-problems add to a two-sided interval.

    Args:
        d: differences, shape (..., problems).
        grain: mean of 1 / repeats.

    Returns:
        Shape (...).
    """
    size, count = sizes(d)
    n, unseen = d.shape[-1], (1 + grain) / 2
    kind = min(unseen, (12 / n) ** 2) if n < ENOUGH else 0.0
    visible = np.maximum(size, kind**2) * (1 + 1 / (1 + count))
    blind = 2 * unseen**2 / (1 + count) ** 3
    return np.asarray(np.maximum(visible, blind))


def moments(d: Floats, added: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, its standard error with what is added to the squares, third over second moment."""
    n = d.shape[-1]
    mean = d.mean(axis=-1)
    centred = d - mean[..., None]
    squares = (centred**2).sum(axis=-1)
    cubes = (centred**3).sum(axis=-1)
    error = np.sqrt((squares + added) / (n * (n - 1)))
    return mean, error, divided(cubes, squares, 0.0)


def ends(
    mean: Floats, error: Floats, skew: Floats, problems: int, t: float
) -> tuple[Floats, Floats]:
    """Both ends for a quantile, shifted by a part of the correction for skewness."""
    half = t * error
    # The correction is an expansion: where it is not small it is cut, or it would turn the sides.
    shift = np.clip(TWO_SIDED * (2 * t * t + 1) / 6 * skew / problems, -half / 2, half / 2)
    return np.maximum(mean + shift - half, -1.0), np.minimum(mean + shift + half, 1.0)
