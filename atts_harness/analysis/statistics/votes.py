"""pass@k, maj@k and weighted votes of one problem's samples, exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples drawn without replacement from n is right.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374), in exact
    integers.

    Args:
        n: samples of the question.
        c: how many of them are right.
        k: samples allowed.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k needs 0 <= c <= n and 1 <= k <= n, got n={n} c={c} k={k}")
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def maj_at_k(right: int, wrong: Sequence[int], abstained: int, k: int) -> float:
    """Chance that the majority of k samples drawn without replacement is right.

    Samples vote for the answer they gave; equivalent answers are one candidate, a sample without
    an answer abstains, and a tie at the top is split evenly. Exact: it equals the mean over all
    C(n, k) subsets, counted by dynamic programming over the candidates.

    Args:
        right: votes for the right answer.
        wrong: votes for each wrong candidate, all >= 1.
        abstained: samples without an answer.
        k: votes drawn, 1 <= k <= n with n = right + sum(wrong) + abstained.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: for negative counts or k outside [1, n].
    """
    n = right + sum(wrong) + abstained
    if right < 0 or abstained < 0 or any(w < 1 for w in wrong) or not 1 <= k <= n:
        raise ValueError(
            f"maj_at_k needs counts >= 0 and 1 <= k <= n, got right={right} wrong={list(wrong)} "
            f"abstained={abstained} k={k}"
        )
    total = Fraction(0)
    for votes in range(1, min(right, k) + 1):
        others = k - votes
        # ways[drawn][tied]: subsets of the wrong candidates, none above `votes`, `tied` at it
        ways: dict[tuple[int, int], int] = {(0, 0): 1}
        for size in wrong:
            grown: dict[tuple[int, int], int] = {}
            for (drawn, tied), count in ways.items():
                for take in range(min(size, votes, others - drawn) + 1):
                    key = (drawn + take, tied + (take == votes))
                    grown[key] = grown.get(key, 0) + count * math.comb(size, take)
            ways = grown
        ways_right = math.comb(right, votes)
        for (drawn, tied), count in ways.items():
            silent = math.comb(abstained, others - drawn)
            total += Fraction(ways_right * count * silent, tied + 1)
    return float(total / math.comb(n, k))


def vote_share(right: float, wrong: Sequence[float]) -> float:
    """Chance that a vote is right: the heaviest candidate wins, a tie at the top is split evenly.

    Args:
        right: weight of the votes for the right answer.
        wrong: weight of the votes for each wrong candidate.

    Returns:
        A probability in [0, 1]; 0 where nobody votes.

    Raises:
        ValueError: a weight is negative or no number.
    """
    weights = [right, *wrong]
    if not all(weight >= 0 for weight in weights):
        raise ValueError(f"vote_share needs weights >= 0, got {right} and {list(wrong)}")
    top = max(weights)
    return 0.0 if top == 0 or right < top else 1 / weights.count(top)
