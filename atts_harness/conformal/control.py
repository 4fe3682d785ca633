"""The threshold: fixed at the rate, or adapted so that the realised rate follows the rate."""

from __future__ import annotations

import math
from typing import Protocol


class Controller(Protocol):
    """Gives the threshold for takeovers, and is told each decision."""

    @property
    def threshold(self) -> float:
        """Take over iff p <= threshold."""
        ...

    def update(self, takeover: bool) -> None:
        """Take a decision into account."""
        ...


class Fixed:
    """Always the rate."""

    def __init__(self, rate: float) -> None:
        """A threshold that never moves."""
        self.threshold = rate

    def update(self, takeover: bool) -> None:
        """Do nothing: the threshold is fixed."""


class Adaptive:
    """Error integration: the threshold moves against the sum of past errors.

    With E = sum of (rate - takeover) over the n decisions so far and a tolerated sum

        h(n) = max(2.5, min(0.018 n, 0.75 sqrt n)),    x = |E| / h(n),

    the threshold is the rate, moved in log-odds by x^4 in the direction of E, beyond x = 1 by x.
    That leaves the ranking alone while the realised rate is within tolerance and turns borderline
    decisions at its edge. At x = 4 everything is taken over, or nothing. So for every sequence of
    scores, drifting or adversarial,

        |realised rate - rate| <= (4 h(n) + 1) / n,    which goes to 0 like 3 / sqrt n.

    This is the integral term of conformal PID control (Angelopoulos, Candes and Tibshirani 2023,
    arXiv 2307.16895: any saturation function of a sublinear h bounds the error)
    around the conformal p-value. Adaptive conformal inference (Gibbs and Candes 2021,
    arXiv 2106.00170) bounds the error by about 1 / (step n): a turn with a hundred scores would
    need a step so large that the threshold follows every question. docs/guarantees.md compares
    them and says how the constants were chosen.
    """

    LEAST = 2.5  # decisions
    TOLERANCE = 0.018
    SPREAD = 0.75  # about 1.5 standard deviations of a fair coin's count
    POWER = 4
    LIMIT = 4.0

    def __init__(self, rate: float) -> None:
        """Begin without decisions."""
        self._rate = rate
        self._takeovers = 0
        self._count = 0

    @property
    def threshold(self) -> float:
        """The threshold after the errors so far; rates 0 and 1 stay fixed."""
        if not 0.0 < self._rate < 1.0:
            return self._rate
        error = self._rate * self._count - self._takeovers
        x = abs(error) / tolerated(self._count)
        if x >= self.LIMIT:
            return 1.0 if error > 0 else 0.0
        lean = x**self.POWER if x < 1.0 else x
        if lean == 0.0:
            return self._rate  # exactly, not by way of its odds
        odds = self._rate / (1.0 - self._rate) * math.exp(math.copysign(lean, error))
        return odds / (1.0 + odds)

    def update(self, takeover: bool) -> None:
        """Count the decision in."""
        self._takeovers += takeover
        self._count += 1


def tolerated(count: int) -> float:
    """h(n): the sum of errors that `Adaptive` hardly reacts to, in decisions."""
    spread = min(Adaptive.TOLERANCE * count, Adaptive.SPREAD * math.sqrt(count))
    return max(Adaptive.LEAST, spread)
