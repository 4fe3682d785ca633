r"""No worse than the reference by more than a margin, worse, or not known yet.

A bound on one side cannot use the slack of the other, so it needs more than half a two-sided
interval. Losses are skewed where a method loses a few problems altogether: of 100 samples that
should lose two, none is lost one time in seven. To `differences` the bound adds

- the whole correction for skewness, not half of it;
- one and a half pseudo-problems, and 1.8 more while none differs: no loss in n problems allows a
  loss of 3 e / n at 95 %, the rule of three (Hanley and Lippman-Hand 1983, JAMA 249).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike
from scipy import stats

from atts_harness.analysis.statistics.clusters import Floats
from atts_harness.analysis.statistics.differences import checked, ends, moments

ALWAYS, AT_FIRST = 1.5, 1.8
"""Pseudo-problems that a bound adds, and those that fade as problems differ."""

POWER = 0.8
"""What a planned number of problems should reach."""

Outcome = Literal["no worse", "worse", "inconclusive"]


@dataclass(frozen=True)
class Equivalence:
    """A method against a reference and a margin.

    Attributes:
        outcome: `no worse` (the lower bound lies above -margin), `worse` (the upper bound lies
            below -margin) or `inconclusive`.
        difference: mean over problems, method minus reference.
        low: lower bound of the difference at `confidence`.
        high: upper bound at `confidence`; each holds on its own, both at 2 confidence - 1.
        margin: what may be lost.
        confidence: of each bound.
        problems: shared problems.
        power: chance of `no worse` with so many problems if the methods are equally good, from the
            clustered variance.
        more: problems to add until the outcome would be known with a chance of .8, if the
            difference is what it seems (at best 0); 0 where it is known.
    """

    outcome: Outcome
    difference: float
    low: float
    high: float
    margin: float
    confidence: float
    problems: int
    power: float
    more: int


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
    t = float(stats.t.ppf(confidence, n - 1))
    return ends(*moments(d, grain, ALWAYS, AT_FIRST), n, t, 1.0)


def equivalence(
    differences: ArrayLike, grain: float, *, margin: float, confidence: float = 0.95
) -> Equivalence:
    """Decide whether a method is no worse than its reference by more than a margin.

    Args:
        differences: shape (problems,), method minus reference.
        grain: mean of 1 / repeats.
        margin: in (0, 1).
        confidence: 1 minus the chance of `no worse` at a true difference of -margin.

    Raises:
        ValueError: margin outside (0, 1); else as `difference_bounds`.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie in (0, 1), got {margin}")
    d = checked(differences)
    n = int(d.shape[-1])
    low, high = (float(b) for b in difference_bounds(d, grain, confidence=confidence))
    mean, error, _ = (float(m) for m in moments(d, grain, ALWAYS, AT_FIRST))
    outcome: Outcome = "inconclusive"
    if low > -margin:
        outcome = "no worse"
    elif high < -margin:
        outcome = "worse"
    quantile = float(stats.norm.ppf(confidence))
    distance = min(abs(mean + margin), margin)
    more = 0
    if outcome == "inconclusive":
        steps = (quantile + float(stats.norm.ppf(POWER))) * error / max(distance, 1e-3)
        more = max(1, math.ceil(n * steps * steps) - n)
    return Equivalence(
        outcome=outcome,
        difference=mean,
        low=low,
        high=high,
        margin=margin,
        confidence=confidence,
        problems=n,
        power=float(stats.norm.cdf(margin / error - quantile)),
        more=more,
    )
