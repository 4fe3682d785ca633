"""Conformal p-values from ranks. The paper's symbols are explained here and nowhere else.

| here | the paper and its code |
|---|---|
| nonconformity s, mean negative log-probability | loss; conformity is -s; perplexity is exp s |
| p = (1 + #{bank >= s}) / (n + 1) | p = (1 + sum of 1[conformity <= its own]) / (n m + 1) |
| percentile = #{bank < s} / n | `percent`, the share of the bank with lower perplexity |
| rate r; take over iff p <= r | 1 - 0.6; C_alpha is the set of turns handed to the target |
| budget B/m | B of the m samples of a problem are in the prediction set: r = B/m |

All functions take counts and no scores: where the counts come from is the banks' business. A `tie`
of 1 is conservative: the test score ranks behind all that equal it. A `tie` drawn uniformly from
(0, 1] makes the p-value of exchangeable scores exactly uniform, for every n, zero included
(Vovk, Gammerman and Shafer 2005, section 2.3, "smoothed conformal predictors").
"""

from __future__ import annotations

import math

CONSERVATIVE = 1.0


def random_tie(uniform: float) -> float:
    """The tie of a seeded draw.

    Args:
        uniform: in [0, 1).

    Returns:
        A tie in (0, 1]: never 0, so that rate 0 takes nothing over and rate 1 everything.

    Raises:
        ValueError: for a draw outside [0, 1).
    """
    if not 0.0 <= uniform < 1.0:
        raise ValueError(f"a seeded draw must lie in [0, 1), got {uniform}")
    return 1.0 - uniform


def pooled(above: int, equal: int, size: int, tie: float = CONSERVATIVE) -> float:
    """The p-value of a score among exchangeable scores.

    Args:
        above: scores of the bank that are greater.
        equal: scores of the bank that are equal.
        size: n.
        tie: in (0, 1].

    Returns:
        (above + tie (1 + equal)) / (n + 1), in (0, 1].
    """
    return (above + tie * (1 + equal)) / (size + 1)


def hierarchical(above: float, equal: float, questions: int, tie: float = CONSERVATIVE) -> float:
    """The p-value of a score of a new question, among questions with several scores each.

    Scores of one question share its difficulty, so they are not exchangeable with those of
    others; the questions are exchangeable. Each counts once, by the share of its scores that are at
    least as bad, and the new question, of which only this score may be used, counts in full.
    P(p <= r) <= r for questions drawn alike (Lee, Barber and Willett 2023, arXiv 2306.06342,
    "hierarchical conformal prediction"; the p-value inverts their set). Random ties settle
    ties with the bank only, so a slack of up to 1 / (Q + 1) stays, for the other scores of
    the new question are unknown.

    Args:
        above: sum over questions of the share of their scores that are greater.
        equal: sum over questions of the share that is equal.
        questions: Q, without the new one.
        tie: in (0, 1].

    Returns:
        (1 + above + tie equal) / (Q + 1), in (0, 1].
    """
    return (1.0 + above + tie * equal) / (questions + 1)


def percentile(below: int, size: int) -> float:
    """The published rank: the share of the bank that is strictly lower.

    Raises:
        ZeroDivisionError: for an empty bank, which has no percentile.
    """
    return below / size


def recorded_percentile(p_value: float, size: int) -> float:
    """The published percentile of a decision recorded under `rule=reference`, bit for bit.

    There the recorded p-value is 1 - percentile, which floating point cannot always turn back;
    the rank can, for it is an integer.
    """
    return percentile(round((1.0 - p_value) * size), size)


def scores_needed(rate: float) -> int:
    """The smallest n for which the bank itself can say `take over`: 1 / (n + 1) <= rate.

    Returns:
        0 for rate 0, where no bank ever says so and none is needed.
    """
    if rate <= 0.0:
        return 0
    n = max(0, math.ceil(1.0 / rate) - 1)
    # 1 / rate is rounded: step to the n that the comparison of floats agrees with.
    while 1.0 / (n + 1) > rate:
        n += 1
    while n and 1.0 / n <= rate:
        n -= 1
    return n
