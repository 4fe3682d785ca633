"""Statistics of repeated samples: pass@k, maj@k, question-clustered and paired intervals.

The one place for them: the tasks, the audit, the leaderboard and the report all count with these
functions. The unit of inference is the question, never the sample: repeats of one question share
its difficulty, so they are one cluster (between-question shares of 0.6-0.8 are usual).

Every interval is two-sided. An input that has no answer raises `ValueError`; where a standard
error does not exist (fewer than two clusters) it is None, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

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


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples drawn without replacement from n is right.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374), in exact
    integers.

    Args:
        n: samples of the question.
        c: how many of them are right.
        k: samples allowed.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k needs 0 <= c <= n and 1 <= k <= n, got n={n} c={c} k={k}")
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def maj_at_k(right: int, wrong: Sequence[int], abstained: int, k: int) -> float:
    """Chance that the majority of k samples drawn without replacement is right.

    Samples vote for the answer they gave; equivalent answers are one candidate, a sample without
    an answer abstains, and a tie at the top is split evenly. Exact: it equals the mean over all
    C(n, k) subsets, counted by dynamic programming over the candidates.

    Args:
        right: votes for the right answer.
        wrong: votes for each wrong candidate, all >= 1.
        abstained: samples without an answer.
        k: votes drawn, 1 <= k <= n with n = right + sum(wrong) + abstained.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: for negative counts or k outside [1, n].
    """
    n = right + sum(wrong) + abstained
    if right < 0 or abstained < 0 or any(w < 1 for w in wrong) or not 1 <= k <= n:
        raise ValueError(
            f"maj_at_k needs counts >= 0 and 1 <= k <= n, got right={right} wrong={list(wrong)} "
            f"abstained={abstained} k={k}"
        )
    total = Fraction(0)
    for votes in range(1, min(right, k) + 1):
        rest = k - votes
        # ways[drawn][tied]: subsets of the wrong candidates, none above `votes`, `tied` at it
        ways: dict[tuple[int, int], int] = {(0, 0): 1}
        for size in wrong:
            grown: dict[tuple[int, int], int] = {}
            for (drawn, tied), count in ways.items():
                for take in range(min(size, votes, rest - drawn) + 1):
                    key = (drawn + take, tied + (take == votes))
                    grown[key] = grown.get(key, 0) + count * math.comb(size, take)
            ways = grown
        chosen = math.comb(right, votes)
        for (drawn, tied), count in ways.items():
            silent = math.comb(abstained, rest - drawn)
            total += Fraction(chosen * count * silent, tied + 1)
    return float(total / math.comb(n, k))


def _grouped(values: ArrayLike, clusters: Sequence[Hashable]) -> tuple[Floats, NDArray[np.intp]]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.shape[0] != len(clusters):
        raise ValueError(
            f"one cluster label a value is needed, got values of shape {data.shape} and "
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
    data, codes = _grouped(values, clusters)
    return np.asarray(np.bincount(codes, data) / np.bincount(codes), dtype=np.float64)


def _t(level: float, clusters: int) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    return float(stats.t.ppf(0.5 + level / 2, clusters - 1))


def _symmetric(value: float, stderr: float, level: float, items: int, clusters: int) -> Estimate:
    half = _t(level, clusters) * stderr
    return Estimate(value, stderr, value - half, value + half, level, items, clusters)


def _score(
    value: float, stderr: float, level: float, items: int, clusters: int, lo: float, hi: float
) -> Estimate:
    """Wilson's interval with the sample size the clustered variance is worth."""
    share = (value - lo) / (hi - lo)
    spread = share * (1 - share)
    width = stderr / (hi - lo)
    # What a cluster is worth in single draws: at least one, for averaging repeats only narrows it;
    # at most three while clusters are few, for then a small variance is more often luck (a hard
    # set where one question of thirty is ever solved) than knowledge. Chosen by simulation: it
    # lifts the coverage at a mean of .05 or .97 over 15-30 questions from .85-.89 to .96-.98.
    most = 3.0 * clusters * max(1.0, clusters / 100)
    worth = min(spread / width**2, most) if width > 0 else float(clusters)
    worth = max(worth, float(clusters))
    t2 = _t(level, clusters) ** 2
    centre = (share + t2 / (2 * worth)) / (1 + t2 / worth)
    half = math.sqrt(t2 * (spread / worth + t2 / (4 * worth**2))) / (1 + t2 / worth)
    low = lo + (hi - lo) * max(0.0, centre - half)
    high = lo + (hi - lo) * min(1.0, centre + half)
    return Estimate(value, stderr, min(low, value), max(high, value), level, items, clusters)


def clustered_mean(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Mean of the cluster means, with a standard error over clusters.

    Every question counts the same, however many of its repeats exist. With `bounds` the interval
    is Wilson's with the effective number of draws (Dean and Pagano 2015, Survey Methodology 41),
    which keeps its coverage where the plain t interval leaves [0, 1]; else it is Student's t with
    clusters - 1 degrees of freedom.

    Args:
        values: shape (items,).
        clusters: the question of each value.
        level: nominal coverage.
        bounds: range that the values cannot leave, such as (0, 1) for a share.

    Returns:
        The estimate; its standard error is the sample standard deviation of the cluster means
        over the square root of their number, which is what lm-eval prints for per-question means.

    Raises:
        ValueError: no values, NaN, a value outside `bounds`, labels that do not fit.
    """
    data, _ = _grouped(values, clusters)
    means = cluster_means(data, clusters)
    value, count = float(means.mean()), int(means.size)
    if bounds is not None and (data.min() < bounds[0] or data.max() > bounds[1]):
        raise ValueError(f"a value lies outside bounds {bounds}")
    if count < 2:
        return Estimate(value, None, None, None, level, int(data.size), count)
    stderr = float(means.std(ddof=1) / math.sqrt(count))
    if bounds is None:
        return _symmetric(value, stderr, level, int(data.size), count)
    return _score(value, stderr, level, int(data.size), count, *bounds)


def clustered_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Estimate:
    """Ratio of totals, such as takeovers over scored turns, with linearised clustered errors.

    Clusters weigh by their denominators: the number is the share over all turns (or tokens), not
    the mean of the questions' shares.

    Args:
        numerators: shape (items,).
        denominators: shape (items,), >= 0, with a positive total.
        clusters: the question of each item.
        level: nominal coverage.

    Returns:
        The estimate with Student's t interval.

    Raises:
        ValueError: as `clustered_mean`, and for a total denominator of zero.
    """
    top, codes = _grouped(numerators, clusters)
    bottom, _ = _grouped(denominators, clusters)
    total = float(bottom.sum())
    if total <= 0 or bottom.min() < 0:
        raise ValueError("denominators must be >= 0 and not all zero")
    value = float(top.sum()) / total
    residuals = np.bincount(codes, top - value * bottom)
    count = int(residuals.size)
    if count < 2:
        return Estimate(value, None, None, None, level, int(top.size), count)
    stderr = math.sqrt(float((residuals**2).sum()) * count / (count - 1)) / total
    return _symmetric(value, stderr, level, int(top.size), count)


def paired_difference(
    first: ArrayLike,
    first_clusters: Sequence[Hashable],
    second: ArrayLike,
    second_clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Estimate:
    """Mean of `first` minus mean of `second` over the same questions.

    Pairing by question removes the between-question variance, which is most of it. Numbers of
    repeats may differ; the questions must be the same.

    Args:
        first: shape (items of the first method,).
        first_clusters: their questions.
        second: shape (items of the second method,).
        second_clusters: their questions.
        level: nominal coverage.

    Returns:
        The difference with Student's t interval over questions.

    Raises:
        ValueError: if a question is in one method only; the message names some.
    """
    left = dict(
        zip(dict.fromkeys(first_clusters), cluster_means(first, first_clusters), strict=True)
    )
    right = dict(
        zip(dict.fromkeys(second_clusters), cluster_means(second, second_clusters), strict=True)
    )
    if left.keys() != right.keys():
        odd = sorted(map(str, left.keys() ^ right.keys()))
        raise ValueError(
            f"paired_difference needs the same questions on both sides; {len(odd)} are on one "
            f"side only, such as {', '.join(odd[:3])}"
        )
    differences = np.array([left[q] - right[q] for q in left])
    value, count = float(differences.mean()), int(differences.size)
    items = len(first_clusters) + len(second_clusters)
    if count < 2:
        return Estimate(value, None, None, None, level, items, count)
    stderr = float(differences.std(ddof=1) / math.sqrt(count))
    return _symmetric(value, stderr, level, items, count)


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
    _, codes = _grouped(np.zeros(len(clusters)), clusters)
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
    data, codes = _grouped(values, clusters)
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
