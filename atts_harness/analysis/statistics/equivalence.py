"""Whether a method is no worse than its reference by more than a margin, worse, or undecided.

The bounds are those of `bounds`. How they vary over problems drawn like these gives the power, and
the number of further problems that would decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike
from scipy import stats

from atts_harness.analysis.statistics.bounds import bound_moments, difference_bounds, needed_mean
from atts_harness.analysis.statistics.differences import checked

POWER = 0.8
"""The chance of a decision that a planned number of problems should reach."""

MOST = 10_000_000
"""Most problems that are planned."""

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
            clustered variance and what may be unseen.
        more: problems to add until the outcome is decided with a chance of .8, if the
            difference is what it seems (at best 0); 0 if it is decided.
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
    mean, error, skew = bound_moments(d, grain)
    outcome: Outcome = "inconclusive"
    if low > -margin:
        outcome = "no worse"
    elif high < -margin:
        outcome = "worse"

    def chance(problems: int, distance: float, *, worse: bool = False) -> float:
        """The chance of a decision with so many problems, if the truth is so far from -margin."""
        wide = max(float(error) * math.sqrt(n / problems), 1e-12)
        sign = -1 if worse else 1
        least = needed_mean(wide, sign * float(skew), problems, grain, confidence, sign * margin)
        return float(stats.norm.cdf((distance - sign * margin - least) / wide))

    more = 0
    if outcome == "inconclusive":
        distance = max(min(abs(float(mean) + margin), margin), 1e-3)
        enough, few, worse = n + 1, n + 1, bool(mean < -margin)
        while enough < MOST and chance(enough, distance, worse=worse) < POWER:
            few, enough = enough, 2 * enough
        while few < enough:
            middle = (few + enough) // 2
            if chance(middle, distance, worse=worse) < POWER:
                few = middle + 1
            else:
                enough = middle
        more = enough - n
    return Equivalence(
        outcome=outcome,
        difference=float(mean),
        low=low,
        high=high,
        margin=margin,
        confidence=confidence,
        problems=n,
        power=chance(n, margin),
        more=more,
    )
