r"""Sampling to a precision: rounds of repeats until a mean is precise enough.

Two questions that are easily mixed up. *Over these problems*: the mean chance of being right on
exactly the problems that were run; repeats make it as exact as wanted, and a stopping rule can ask
for it. *Over problems drawn like these*: repeats cannot buy it; its interval has a floor, the
spread of the problems over the root of their number.

The variance over these problems is sum v_i / k over n^2, v_i = c (k - c) / (k (k - 1)) the unbiased
variance of a problem with c right of k repeats. A rule that stops when an estimate is small stops
too early, most of all where two repeats of each problem happen to agree. So a pseudo-problem that
is right half the time is counted in, and a round at most doubles the repeats (Chow and Robbins
1965, Annals of Mathematical Statistics 36, on sequential intervals of fixed width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

COIN = 0.25
"""Variance of one sample of the pseudo-problem."""


@dataclass(frozen=True)
class Precision:
    """How precise a mean is.

    Attributes:
        value: mean over problems of their shares of right samples.
        here: half-width over exactly these problems; infinite with one repeat.
        floor: half-width over problems drawn like these that no number of repeats goes below
            (Student's t on the spread of the problems without the noise of their repeats); infinite
            with one problem.
        repeats: samples of each problem; the smallest number.
        needed: repeats for the half-width that was asked for, by the present estimate.
        level: of the intervals.
    """

    value: float
    here: float
    floor: float
    repeats: int
    needed: int
    level: float


def precision_of(
    right: Sequence[int], repeats: Sequence[int], half_width: float, *, level: float = 0.95
) -> Precision:
    """How precise the mean over these problems is, and how many repeats a half-width needs.

    Args:
        right: right samples of each problem.
        repeats: samples of each problem, all >= 1.
        half_width: what is asked for, in (0, 1).
        level: of the interval.

    Raises:
        ValueError: no problems, counts that do not fit, or half_width outside (0, 1).
    """
    c, k = np.asarray(right, dtype=np.float64), np.asarray(repeats, dtype=np.float64)
    if c.size == 0 or c.shape != k.shape or (c < 0).any() or (c > k).any() or k.min() < 1:
        raise ValueError("expected 0 <= right <= repeats and repeats >= 1 for every problem")
    if not 0 < half_width < 1:
        raise ValueError(f"half_width must lie in (0, 1), got {half_width}")
    n, fewest = c.size, int(k.min())
    shares = c / k
    z = float(stats.norm.ppf(0.5 + level / 2))
    if fewest < 2:
        return Precision(float(shares.mean()), math.inf, math.inf, fewest, 2, level)
    noise = c * (k - c) / k / (k - 1)
    of_one_repeat = float(noise.sum()) + COIN
    here = z * math.sqrt(float((noise / k).sum()) + COIN / fewest) / n
    spread = float(shares.var(ddof=1)) - float((noise / k).mean()) if n > 1 else math.inf
    t = float(stats.t.ppf(0.5 + level / 2, n - 1)) if n > 1 else math.inf
    return Precision(
        value=float(shares.mean()),
        here=here,
        floor=t * math.sqrt(max(spread, 0.0) / n),
        repeats=fewest,
        needed=max(2, math.ceil(of_one_repeat * (z / (half_width * n)) ** 2 - 1e-9)),
        level=level,
    )


def widest_floor(problems: int, accuracy: float, *, level: float = 0.95) -> float:
    """Largest half-width over problems drawn like these that no number of repeats can reduce.

    That is where every problem is always right or never. `precision_of` measures the real one.

    Args:
        problems: how many there are.
        accuracy: share of them that is right, in [0, 1].
        level: nominal coverage.

    Returns:
        Student's half-width; infinite with one problem.
    """
    if problems < 2:
        return math.inf
    t = float(stats.t.ppf(0.5 + level / 2, problems - 1))
    return t * math.sqrt(accuracy * (1 - accuracy) / (problems - 1))


def next_repeats(now: Precision, half_width: float, cap: int) -> int | None:
    """Repeats of the next round; None when it is precise enough, or the cap is reached.

    Args:
        now: precision so far.
        half_width: what is asked for.
        cap: most repeats of a problem.
    """
    if now.here <= half_width or now.repeats >= cap:
        return None
    return min(cap, max(now.repeats + 1, min(now.needed, 2 * now.repeats)))
