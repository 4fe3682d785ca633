"""The common parts of all intervals over problems: estimates, clusters, resampling."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A point estimate with the uncertainty of its clusters.

    Attributes:
        value: the estimate.
        stderr: clustered standard error, None with fewer than two clusters.
        low: lower end of the interval, None with fewer than two clusters.
        high: upper end of the interval, None with fewer than two clusters.
        level: nominal coverage of [low, high].
        items: how many values went in.
        clusters: how many questions they came from.
    """

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    level: float
    items: int
    clusters: int


def grouped(values: ArrayLike, clusters: Sequence[Hashable]) -> tuple[Floats, NDArray[np.intp]]:
    """Values as an array, and the number of each one's cluster in order of first appearance.

    Raises:
        ValueError: no values, NaN, or labels that do not fit.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.shape[0] != len(clusters):
        raise ValueError(
            f"one cluster label per value is needed, got values of shape {data.shape} and "
            f"{len(clusters)} labels"
        )
    if data.size == 0:
        raise ValueError("no values")
    if not np.isfinite(data).all():
        raise ValueError("values must be finite; count failures apart instead of passing NaN")
    index: dict[Hashable, int] = {}
    codes = np.fromiter((index.setdefault(c, len(index)) for c in clusters), np.intp, data.size)
    return data, codes


def cluster_means(values: ArrayLike, clusters: Sequence[Hashable]) -> Floats:
    """Mean of each cluster, in order of first appearance.

    Args:
        values: shape (items,).
        clusters: a hashable label for each value.

    Returns:
        Shape (clusters,).
    """
    data, codes = grouped(values, clusters)
    return np.asarray(np.bincount(codes, data) / np.bincount(codes), dtype=np.float64)


def divided(top: Floats, bottom: Floats, otherwise: Floats | float) -> Floats:
    """Top over bottom where bottom is positive, `otherwise` elsewhere."""
    positive = bottom > 0
    return np.where(positive, top / np.where(positive, bottom, 1.0), otherwise)


def student_t(level: float, clusters: int) -> float:
    """Student's two-sided quantile for a number of clusters.

    Raises:
        ValueError: level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    return float(stats.t.ppf(0.5 + level / 2, clusters - 1))


def cluster_bootstrap(
    statistic: Callable[[list[int]], float],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Percentile interval of any statistic by drawing whole clusters with replacement.

    For what has no formula here: medians, area under a curve, a ratio of latencies.

    Args:
        statistic: from a list of item indices (with repetitions) to a finite number.
        clusters: the question of each item.
        level: nominal coverage.
        draws: bootstrap samples.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        The statistic of all items, its bootstrap standard error and percentile interval.

    Raises:
        ValueError: no items, or a statistic that is not finite on some draw.
    """
    _, codes = grouped(np.zeros(len(clusters)), clusters)
    count = int(codes.max()) + 1
    members = [np.flatnonzero(codes == c).tolist() for c in range(count)]
    value = float(statistic(list(range(len(clusters)))))
    if count < 2:
        return Estimate(value, None, None, None, level, len(clusters), count)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, count, size=(draws, count))
    results = np.array([statistic([i for c in row for i in members[c]]) for row in picks])
    if not np.isfinite(results).all():
        raise ValueError("the statistic is not finite on some bootstrap sample")
    low, high = np.quantile(results, [0.5 - level / 2, 0.5 + level / 2])
    stderr = float(results.std(ddof=1))
    return Estimate(value, stderr, float(low), float(high), level, len(clusters), count)


def between_share(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """Share of the variance that lies between clusters (intraclass correlation, ANOVA estimator).

    Args:
        values: shape (items,).
        clusters: the question of each value.

    Returns:
        At most 1; slightly negative when clusters differ less than chance would make them.

    Raises:
        ValueError: fewer than two clusters, no cluster with two values, or no variance at all.
    """
    data, codes = grouped(values, clusters)
    sizes = np.bincount(codes)
    count, items = int(sizes.size), int(data.size)
    if count < 2 or items == count:
        raise ValueError("between_share needs two clusters and repeats within some cluster")
    means = np.bincount(codes, data) / sizes
    within = float(((data - means[codes]) ** 2).sum()) / (items - count)
    between = float((sizes * (means - data.mean()) ** 2).sum()) / (count - 1)
    typical = (items - float((sizes**2).sum()) / items) / (count - 1)
    if between == 0 and within == 0:
        raise ValueError("between_share needs values that vary")
    return (between - within) / (between + (typical - 1) * within)
