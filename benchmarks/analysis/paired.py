r"""What the report's paired comparisons are worth, on simulated questions: a Markdown table.

    python -m benchmarks.analysis.paired

Questions have beta(0.8, 0.8)-distributed difficulty; the second method's chance on a question is
the first one's plus a gain that differs from question to question (standard deviation 0.15), 4
repeats each. Columns: how often the 95 % interval holds the mean gain over questions, 0.1 or none,
and the one for 9 comparisons at once (99.4 %); how often a test claims a difference
at 5 % where there is none: signs flipped by question, McNemar; and how often any of 9 such claims
is made, with and without Holm's correction.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from atts_harness.analysis.leaderboard.paired import holm, mcnemar, sign_flip_p
from atts_harness.analysis.statistics import paired_difference

REPEATS = 4
SIZES = (6, 12, 30)
SPREAD = 0.15
FAMILY = 9

Marks = NDArray[np.bool_]


def draw(rng: np.random.Generator, questions: int, gain: float) -> tuple[Marks, Marks]:
    """Right or wrong of two methods, shape (questions, repeats).

    Difficulties leave room for the gain, which is symmetric about its mean: so that is exact.
    """
    own = rng.normal(gain, SPREAD, questions).clip(gain - 0.4, gain + 0.4)
    room = np.abs(own)
    ease = rng.beta(0.8, 0.8, questions) * (1 - room)
    ease += np.where(own < 0, room, 0.0)
    chances = (ease + own, ease)
    first, second = (rng.random((questions, REPEATS)) < c[:, None] for c in chances)
    return first, second


def row(questions: int, draws: int) -> list[float]:
    """Shares of draws, one a column."""
    rng = np.random.default_rng(questions)
    names = np.repeat(np.arange(questions), REPEATS).tolist()
    hits = np.zeros(5)
    p_values = []
    for _ in range(draws):
        for column, (gain, level) in enumerate(
            ((0.1, 0.95), (0.0, 0.95), (0.1, 1 - 0.05 / FAMILY))
        ):
            first, second = draw(rng, questions, gain)
            found = paired_difference(first.ravel(), names, second.ravel(), names, level=level)
            hits[column] += found.low <= gain <= found.high
        first, second = draw(rng, questions, 0.0)
        p_values.append(sign_flip_p((first.mean(1) - second.mean(1)).tolist()))
        hits[3] += p_values[-1] <= 0.05
        hits[4] += mcnemar(first.ravel().tolist(), second.ravel().tolist()).p <= 0.05
    families = [p_values[n : n + FAMILY] for n in range(0, draws - FAMILY + 1, FAMILY)]
    plain = np.mean([min(own) <= 0.05 for own in families])
    corrected = np.mean([min(p or 0.0 for p in holm(own)) <= 0.05 for own in families])
    return [*(hits / draws), float(plain), float(corrected)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=900)
    args = parser.parse_args()
    head = ["questions", "95 %, gain 0.1", "95 %, no gain", f"{FAMILY} at once", "signs flipped"]
    head += ["McNemar", f"any of {FAMILY}", f"any of {FAMILY}, Holm"]
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    began = time.monotonic()
    for questions in SIZES:
        cells = [f"{share:.3f}" for share in row(questions, args.draws)]
        print(f"| {questions} | {' | '.join(cells)} |", flush=True)
    print(f"\n{args.draws} draws a row; {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
