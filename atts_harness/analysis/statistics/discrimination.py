"""AUC of a score over samples that come in problems: does it tell wrong samples from right ones?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from atts_harness.analysis.statistics.clusters import Estimate, Floats, grouped, student_t
from atts_harness.analysis.statistics.differences import ENOUGH
from atts_harness.analysis.statistics.shares import effective, shrunk, wilson

PRIOR = 1.5
"""Weight, in problems, of the largest variance; with fewer than thirty, times 30 / n."""


def clustered_auc(
    scores: ArrayLike,
    positive: Sequence[bool],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Estimate:
    """Chance that a positive sample scores above a negative one, ties half, over all pairs.

    The standard error is Obuchowski's (1997, Biometrics 53) for clustered data: DeLong's components
    summed within problems. The interval is Wilson's with the variance shrunk towards the largest
    that an AUC can have, A (1 - A) / m with m the smaller effective number of problems that
    positives and negatives come from: scores that separate a small sample perfectly have no
    variance, which does not mean that the AUC is certain.

    Args:
        scores: shape (samples,).
        positive: which of them are positive; some must be and some must not.
        clusters: the problem of each sample.
        level: nominal coverage.

    Returns:
        The AUC with its interval, within [0, 1]; no interval with fewer than two problems.

    Raises:
        ValueError: all samples positive, or none; else as `clustered_mean`.
    """
    data, codes = grouped(scores, clusters)
    marks = np.asarray(positive, dtype=bool)
    if marks.shape != data.shape:
        raise ValueError("one mark per score is needed")
    if marks.all() or not marks.any():
        raise ValueError("an AUC needs positive and negative samples")
    above, below = data[marks], data[~marks]
    won = _share_below(above, below)
    lost = 1 - _share_below(below, above)
    value = float(won.mean())
    count = int(codes.max()) + 1
    if count < 2:
        return Estimate(value, None, None, None, level, int(data.size), count)
    part = np.bincount(codes[marks], (won - value) / above.size, count)
    part += np.bincount(codes[~marks], (lost - value) / below.size, count)
    variance = float((part**2).sum()) * count / (count - 1)
    ones = effective(np.bincount(codes[marks], minlength=count).astype(np.float64))
    others = effective(np.bincount(codes[~marks], minlength=count).astype(np.float64))
    problems = np.minimum(ones, others)
    spread = value * (1 - value)
    worst = 1 / problems
    unit = np.asarray(variance / spread) if spread > 0 else worst
    unit = shrunk(unit, worst, problems, PRIOR * max(1.0, ENOUGH / count))
    low, high = wilson(np.asarray(value), unit, student_t(level, count))
    return Estimate(
        value, math.sqrt(variance), float(low), float(high), level, int(data.size), count
    )


def _share_below(these: Floats, those: Floats) -> Floats:
    """For each value the share of the other values below it; ties count half."""
    ordered = np.sort(those)
    low = np.searchsorted(ordered, these, "left")
    high = np.searchsorted(ordered, these, "right")
    return np.asarray((low + high) / 2 / those.size)
