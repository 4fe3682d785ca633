r"""Shares of totals over problems, such as takeovers among judged turns.

The turns of one problem are a cluster: a hard problem is taken over again and again. The interval
is Wilson's (1927), with the number of turns replaced by what they are worth, R (1 - R) / variance
(Dean and Pagano 2015, Survey Methodology 41, compare such intervals for clustered shares). The
variance is that of the ratio with one problem left out at a time, residual / (1 - its share of the
turns): a problem of many turns pulls the ratio to itself, and its plain residual is too small
(the jackknife of a ratio; Royall and Cumberland 1981, JASA 76).

That variance is itself a poor estimate where few problems hold all takeovers, and it errs to the
optimistic side, for what was not drawn has no variance. So it is shrunk, on the logarithmic scale,
towards the largest that these totals allow: every problem's turns all alike. The weight of the data
is x / (x + prior). x is the effective number of problems that takeovers (or, above one half, their
absence) come from: the geometric mean of that of the takeovers themselves and that of the problems'
chances, n / (1 + c^2), c their coefficient of variation without the noise of the turns. Takeovers
that are rare and spread by chance alone are not a reason to doubt the variance; takeovers of only a
few problems are.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from atts_harness.analysis.statistics.clusters import (
    Estimate,
    Floats,
    divided,
    grouped,
    student_t,
)
from atts_harness.analysis.statistics.differences import ENOUGH

PRIOR = 2.5
"""Problems that the largest variance is worth, from thirty on; more below, by (30 / n)^2. Chosen on
a grid of its own (`benchmarks/statistics/choice.py`)."""


def clustered_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Estimate:
    """Share of totals over problems drawn like these, such as takeovers over judged turns.

    Problems weigh by their denominators: the number is the share over all turns (or tokens), not
    the mean of the problems' shares.

    Args:
        numerators: shape (items,), each at most its denominator.
        denominators: shape (items,), >= 0, with a positive total.
        clusters: the problem of each item.
        level: nominal coverage.

    Returns:
        The estimate, its linearised clustered standard error and the interval of this module.

    Raises:
        ValueError: as `clustered_mean`, for a total denominator of zero, and for a numerator
            outside [0, denominator].
    """
    top, codes = grouped(numerators, clusters)
    bottom, _ = grouped(denominators, clusters)
    total = float(bottom.sum())
    if total <= 0 or bottom.min() < 0:
        raise ValueError("denominators must be >= 0 and not all zero")
    if top.min() < 0 or (top > bottom).any():
        raise ValueError("a share needs numerators between 0 and their denominators")
    value = float(top.sum()) / total
    hits, turns = np.bincount(codes, top), np.bincount(codes, bottom)
    count = int(hits.size)
    if count < 2:
        return Estimate(value, None, None, None, level, int(top.size), count)
    residuals = hits - value * turns
    stderr = math.sqrt(float((residuals**2).sum()) * count / (count - 1)) / total
    low, high = share_interval(hits, turns, level=level)
    return Estimate(value, stderr, float(low), float(high), level, int(top.size), count)


def share_interval(
    hits: ArrayLike, turns: ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Interval of a share; the last axis is problems, others are separate cases.

    Args:
        hits: shape (..., problems), each between 0 and its turns.
        turns: shape (..., problems), with a positive total; a problem may have none.
        level: nominal coverage.

    Returns:
        Lower and upper ends, each of shape (...), within [0, 1] and around the share.

    Raises:
        ValueError: fewer than two problems, or level outside (0, 1).
    """
    h, t = np.asarray(hits, dtype=np.float64), np.asarray(turns, dtype=np.float64)
    n = h.shape[-1] if h.ndim else 0
    if n < 2:
        raise ValueError("an interval needs two problems")
    total = t.sum(axis=-1)
    share = h.sum(axis=-1) / total
    spread = share * (1 - share)
    miss = t - h
    # Leaving a problem out moves the share by its residual over the turns of the others.
    others = 1 - t / total[..., None]
    alone = others <= 0  # one problem has all turns: nothing is left without it
    weight = np.where(alone, 1.0, (n - 1) / n / np.where(alone, 1.0, others) ** 2)
    residuals = h - share[..., None] * t
    variance = (residuals**2 * weight).sum(axis=-1) / total**2
    # The variance if all turns of a problem were alike: sums of t^2 weighted by hits and by misses.
    alike = (t * h * weight).sum(axis=-1) * (1 - share) ** 2
    alike += (t * miss * weight).sum(axis=-1) * share**2
    worst = divided(alike / total**2, spread, (t**2).sum(axis=-1) / total**2)
    # No share varies more than one draw of all turns.
    worst = np.minimum(worst, 1.0)
    unit = np.minimum(divided(variance, spread, worst), 1.0)
    rarer = np.minimum(share, 1 - share)
    varies = divided(np.maximum(unit - 1 / total, 0.0) * n * (1 - rarer), rarer, 0.0)
    informative = np.minimum(effective(h), effective(miss))
    informative = np.sqrt(informative * n / (1 + varies))
    unit = shrunk(unit, worst, informative, PRIOR * max(1.0, (ENOUGH / n) ** 2))
    return wilson(share, unit, student_t(level, n))


def effective(weights: Floats) -> Floats:
    """Kish's effective number of what carries weights: (sum w)^2 / sum w^2; 0 without weights."""
    return divided(weights.sum(axis=-1) ** 2, (weights**2).sum(axis=-1), 0.0)


def shrunk(unit: Floats, worst: Floats, informative: Floats, prior: float) -> Floats:
    """A variance, raised towards the largest possible one; more the less information there is."""
    weight = informative / (informative + prior)
    floor = np.maximum(unit, worst * 1e-9)
    return np.maximum(unit, np.where(unit < worst, floor**weight * worst ** (1 - weight), unit))


def wilson(share: Floats, unit: Floats, t: float) -> tuple[Floats, Floats]:
    """Wilson's interval where `unit` is the variance of the share over share (1 - share)."""
    t2 = t * t * unit
    centre = (share + t2 / 2) / (1 + t2)
    half = np.sqrt(t2 * (share * (1 - share) + t2 / 4)) / (1 + t2)
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    return np.minimum(low, share), np.maximum(high, share)
