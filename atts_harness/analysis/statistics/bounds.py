r"""Bounds on one side of a paired difference: how far a method may be behind, or ahead.

A bound on one side cannot use the slack of the other, so it needs more than half a two-sided
interval. Losses are skewed where a method loses a few problems altogether, and a kind of problem
on which it loses may not have been drawn at all. The bound is Student's with

- the whole correction for skewness (Johnson 1978, JASA 73; Hall 1992, JRSS B 54), not half of it;
- 1.2 pseudo-problems at the typical size of a difference that shows, and further ones while few
  problems differ, for their sizes are then hardly known: with x problems that differ, Student's
  quantile of x degrees of freedom asks for as many, and with one repeat there is no size to know;
- half a step of the sum where all differences have one sign, for it is a count then, and a bound
  between its steps holds on the average only; less where signs are mixed, by the square of how
  unequal they are;
- *what may be unseen*. Let a benchmark be at -m because a kind of problem, a share q of it, loses v
  in all, and the rest m - v. n problems show no trace of the kind with the chance
  g(v) = (1 - q + q (1 - v / q)^k)^n, k the repeats. To hold for that benchmark too at the error
  alpha, what is seen need not hold at alpha, but at alpha / g(v). So the bound is the least m with

      m >= v - bound(alpha / g(v))   for every v from 0 to m.

  With one repeat and no difference this is 1 - alpha^(1/n), the exact bound, near 3 / n (the rule
  of three; Hanley and Lippman-Hand 1983, JAMA 249). This costs next to nothing where the noise of
  the problems is larger than the loss of such a kind. With several repeats the chance depends on q:
  kinds of at least `KIND` are allowed for. Two cases are not covered: rarer kinds, which 30
  problems cannot show, and a benchmark where the rest gains and a kind that was not drawn loses
  more than that.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from atts_harness.analysis.statistics.clusters import Floats, divided
from atts_harness.analysis.statistics.differences import ENOUGH, checked, moments, sizes

KIND = 1 / 12
"""Share of the benchmark from which on a kind of problem is allowed for though none was drawn."""

ALWAYS, AT_FIRST, FADES = 1.2, 4.0, 4.0
"""Pseudo-problems that a bound adds, more below thirty problems, by 30 / n; those that fade as
problems differ, halved at so many."""

STEPS = 64
"""Number of possible unseen losses at which a bound is evaluated."""


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
    mean, error, skew = bound_moments(d, grain)
    n = d.shape[-1]
    uneven = divided(np.abs(d.sum(axis=-1)), np.abs(d).sum(axis=-1), 0.0)
    step = uneven**2 * grain / (2 * n)
    below = -_least_loss(mean - step, error, skew, n, grain, confidence)
    above = _least_loss(-mean - step, error, -skew, n, grain, confidence)
    return np.maximum(below, -1.0), np.minimum(above, 1.0)


def bound_moments(d: Floats, grain: float) -> tuple[Floats, Floats, Floats]:
    """Mean, standard error with the bound's pseudo-problems, third over second central moment."""
    size, count = sizes(d)
    always = ALWAYS * max(1.0, ENOUGH / d.shape[-1])
    further = AT_FIRST * (1 - grain) / (1 + (count / FADES) ** 2)
    return moments(d, size * (always + further))


def needed_mean(
    error: float, skew: float, problems: int, grain: float, confidence: float, margin: float
) -> float:
    """The smallest mean difference whose lower bound is above -margin.

    Args:
        error: standard error.
        skew: third over second central moment.
        problems: n.
        grain: mean of 1 / repeats.
        confidence: of the bound.
        margin: in [-1, 1]; below 0 for a bound above 0.
    """
    widths = [
        float(_width(np.asarray(error), np.asarray(skew), t, problems)) + lost
        for lost, t in _unseen(problems, grain, confidence)
        if lost <= max(margin, 0.0)
    ]
    return max(widths) - margin


def _least_loss(
    mean: Floats, error: Floats, skew: Floats, problems: int, grain: float, confidence: float
) -> Floats:
    """The least loss that the bound allows: minus the lower bound."""
    loss = np.full_like(mean, -np.inf)
    over = np.zeros(loss.shape, dtype=bool)
    for lost, t in _unseen(problems, grain, confidence):
        least = np.maximum(loss, lost + _width(error, skew, t, problems) - mean)
        # Once all losses so far need less than this one, this and larger ones do not matter.
        over |= (least < lost - 1e-12) if lost > 0 else (least < 0)
        loss = np.where(over & np.isfinite(loss), loss, least)
    return loss


def _width(error: Floats, skew: Floats, t: float, problems: int) -> Floats:
    """Distance of Student's bound below the mean, corrected for skewness."""
    shift = (2 * t * t + 1) / 6 * skew / problems
    # The correction is an expansion: where it is not small it is cut.
    most = error * max(abs(t), 1.0) / 2
    return np.asarray(t * error - np.clip(shift, -most, most))


@cache
def _unseen(problems: int, grain: float, confidence: float) -> tuple[tuple[float, float], ...]:
    """Possible unseen losses, from 0 on, each with Student's quantile for the remaining error."""
    alpha = 1 - confidence
    most = 1 - alpha ** (1 / problems)
    if most < KIND:
        most = KIND * -math.expm1(grain * math.log1p(-most / KIND))
    losses = []
    for lost in np.linspace(0.0, most, STEPS):
        share = max(KIND, float(lost))
        shows = share * (1 - max(1 - lost / share, 0.0) ** (1 / grain))
        error = min(alpha / (1 - shows) ** problems, 1 - 1e-9)
        losses.append((float(lost), float(stats.t.isf(error, problems - 1))))
    return tuple(losses)
