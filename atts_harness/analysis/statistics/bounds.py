r"""Bounds on one side of a paired difference: how far a method may be behind, or ahead.

A bound on one side cannot use the slack of the other, so it needs more than half a two-sided
interval. Losses are skewed where a method loses a few problems altogether, and a kind of problem
on which it loses may not have been drawn at all. The bound is Student's with

- the whole correction for skewness (Johnson 1978, JASA 73; Hall 1992, JRSS B 54), not half of it;
- 1.2 pseudo-problems at the typical size of a difference that shows, and further ones while few
  problems differ, for their sizes are then hardly known: with x problems that differ, Student's
  quantile of x degrees of freedom asks for as many, and with one repeat there is no size to know;
- *what may be unseen*. Let a kind of problem make up a share q of the benchmark and lose v in all.
  n problems show no trace of it with the chance g(v) = (1 - q + q (1 - v / q)^k)^n. A bound at the
  error alpha has to hold for that benchmark, too: it need not be met by the rest at alpha, but at
  alpha / g(v), and from there v is still to be lost. The bound is the least over v,

      min over v of  bound(alpha / g(v)) - v.

  With one repeat and no difference this is 1 - alpha^(1/n), the exact bound, near 3 / n (the rule
  of three; Hanley and Lippman-Hand 1983, JAMA 249). Where the noise of the problems is larger than
  what such a kind would lose it costs nothing. With several repeats the chance depends on q: kinds
  of at least `KIND` are allowed for. Rarer ones are not: 30 problems cannot tell of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atts_harness.analysis.statistics.clusters import Floats
from atts_harness.analysis.statistics.differences import checked, moments, sizes

KIND = 1 / 15
"""Share of the benchmark from which on a kind of problem is allowed for though none was drawn."""

ALWAYS, AT_FIRST, FADES = 1.2, 4.0, 4.0
"""Pseudo-problems that a bound adds; those that fade as problems differ, halved at so many."""

STEPS = 40
"""Losses that may be unseen at which the bound is looked at."""


def difference_bounds(
    differences: ArrayLike, grain: float, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Lower and upper bound of the mean difference, each at `confidence` on its own.

    Args:
        differences: shape (..., problems), each in [-1, 1].
        grain: mean of 1 / repeats, as for `difference_interval`.
        confidence: of each bound, above one half.

    Returns:
        Bounds of shape (...), within [-1, 1].

    Raises:
        ValueError: fewer than two problems, or confidence outside (.5, 1).
    """
    d = checked(differences)
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence must lie in (0.5, 1), got {confidence}")
    n = d.shape[-1]
    mean, error, skew = bound_moments(d, grain)
    below = reach(error, skew, n, grain, confidence)
    above = reach(error, -skew, n, grain, confidence)
    return np.maximum(mean - below, -1.0), np.minimum(mean + above, 1.0)


def bound_moments(d: Floats, grain: float) -> tuple[Floats, Floats, Floats]:
    """Mean, standard error with the bound's pseudo-problems, third over second central moment."""
    size, count = sizes(d)
    further = AT_FIRST * (1 - grain) / (1 + (count / FADES) ** 2)
    return moments(d, size * (ALWAYS + further))


def reach(error: Floats, skew: Floats, problems: int, grain: float, confidence: float) -> Floats:
    """How far below the mean the lower bound lies; the upper one with -skew.

    Args:
        error: standard error, shape (...).
        skew: third over second central moment, likewise.
        problems: n.
        grain: mean of 1 / repeats.
        confidence: of the bound.

    Returns:
        At least 0, shape (...).
    """
    alpha = 1 - confidence
    at_first = float(stats.t.ppf(confidence, problems - 1))
    farthest = np.zeros_like(error)
    # From the bound without anything unseen to that where the rest need not hold at all.
    for t in np.linspace(at_first, -4.0, STEPS):
        unseen = alpha / float(stats.t.sf(t, problems - 1))
        shift = (2 * t * t + 1) / 6 * skew / problems
        # The correction is an expansion: where it is not small it is cut.
        most = error * max(abs(t), 1.0) / 2
        lost = unseen_loss(unseen, problems, grain)
        farthest = np.maximum(farthest, t * error - np.clip(shift, -most, most) + lost)
    return farthest


def unseen_loss(chance: float, problems: int, grain: float) -> float:
    """The most that a kind of problem can lose in all and leave no trace with this chance.

    Args:
        chance: in (0, 1].
        problems: that were drawn.
        grain: mean of 1 / repeats.

    Returns:
        Loss of the mean, in [0, 1].
    """
    shows = -np.expm1(np.log(chance) / problems)  # of one problem: q (1 - (1 - v / q)^k)
    if shows >= KIND:
        return float(shows)  # the kind is all that shows: every sample of it is lost
    return float(KIND * -np.expm1(grain * np.log1p(-shows / KIND)))
