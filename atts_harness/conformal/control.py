"""The threshold: fixed at the rate, or led so that the realised rate follows it."""

from __future__ import annotations

import math
from typing import Protocol


class Controller(Protocol):
    """Says below which p-value to take over, and hears what came of it."""

    @property
    def threshold(self) -> float:
        """Take over iff p <= threshold."""
        ...

    def update(self, takeover: bool) -> None:
        """A decision was made."""
        ...


class Fixed:
    """Always the rate."""

    def __init__(self, rate: float) -> None:
        """A threshold that never moves."""
        self.threshold = rate

    def update(self, takeover: bool) -> None:
        """Nothing to learn."""


class Adaptive:
    """Error integration: the threshold leans against the sum of past errors.

    With E = sum of (rate - takeover) over the n decisions so far,

        logit(threshold) = logit(rate) + GAIN x^3,   x = E / (TOLERANCE (n + SLACK)),

    and past |x| >= LIMIT the threshold is 0 or 1. This is the integral term of conformal PID
    control (Angelopoulos, Candes and Tibshirani 2023, arXiv 2307.16895, eq. 5) around the
    conformal p-value, with a saturation function of its own. For every sequence of scores,
    drifting or adversarial, after n decisions

        |realised - rate| <= LIMIT TOLERANCE (1 + SLACK / n) + 1 / n,

    where adaptive conformal inference (Gibbs and Candes 2021, arXiv 2106.00170) bounds it by
    about 1 / (step n) and pays for a small error at small n with a step that makes the threshold
    follow every question. The cube leaves the ranking alone while the rate is within tolerance.
    """

    TOLERANCE = 0.02
    SLACK = 50
    GAIN = 1.0
    LIMIT = 2.5

    def __init__(self, rate: float) -> None:
        """Nothing decided yet."""
        self._rate = rate
        self._debt = 0.0
        self._count = 0

    @property
    def threshold(self) -> float:
        """Where the errors so far put it; rates 0 and 1 stay where they are."""
        if not 0.0 < self._rate < 1.0:
            return self._rate
        x = self._debt / (self.TOLERANCE * (self._count + self.SLACK))
        if abs(x) >= self.LIMIT:
            return 1.0 if x > 0 else 0.0
        odds = self._rate / (1.0 - self._rate) * math.exp(self.GAIN * x**3)
        return odds / (1.0 + odds)

    def update(self, takeover: bool) -> None:
        """Count the error in."""
        self._debt += self._rate - takeover
        self._count += 1
