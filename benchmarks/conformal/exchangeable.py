"""Exchangeable scores: how often is a turn taken over, for every bank size from 0 to 50?

    python -m benchmarks.conformal.exchangeable [--trials N] [--draw]

Each trial feeds 51 scores (a third of them equal to each other) to a fresh online policy of every
coverage mode; the decision at bank size n is the n-th. Fails if random ties leave the Monte-Carlo
error around the rate, or conservative ones exceed it.
"""

from __future__ import annotations

import math
import random
from typing import Literal

from atts_harness.conformal import CalibrationOptions, make_policy
from atts_harness.conformal.options import Coverage
from atts_harness.records import SampleId
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure

RATE, SIZES = 0.4, 51
Ties = Literal["random", "conservative"]
TIES: tuple[Ties, ...] = ("random", "conservative")
COVERAGES = tuple(Coverage)


def rates(coverage: Coverage, ties: Ties, trials: int, rng: random.Random) -> list[float]:
    """Share of takeovers at each bank size."""
    takeovers = [0] * SIZES
    options = CalibrationOptions(rate=RATE, coverage=coverage, ties=ties, control="fixed")
    for _ in range(trials):
        policy = make_policy(options)
        for n in range(SIZES):
            score = rng.gauss(1, 1) if rng.random() < 2 / 3 else 1.0
            verdict = policy.decide(score, SampleId("t", 7, n), 2, rng.random())
            assert verdict.bank_size == n
            takeovers[n] += verdict.takeover
    return [hits / trials for hits in takeovers]


def main() -> None:
    """Simulate, check, draw."""
    args = arguments(__doc__, trials=5000)
    error = 4.5 * math.sqrt(RATE * (1 - RATE) / args.trials)
    rates_of: dict[tuple[str, str], list[float]] = {}
    print(f"rate {RATE}, {args.trials} trials: smallest and largest share over n = 0..50")
    for coverage in COVERAGES:
        for ties in TIES:
            rng = random.Random(f"{args.seed}/{coverage}/{ties}")
            shares = rates_of[coverage, ties] = rates(coverage, ties, args.trials, rng)
            print(f"  {coverage:17} {ties:12} {min(shares):.3f} {max(shares):.3f}")
            assert max(shares) <= RATE + error, (coverage, ties)
            assert ties == "conservative" or min(shares) >= RATE - error, (coverage, ties)
    if args.draw:
        with figure("exchangeable") as axes:
            for coverage in COVERAGES:
                for ties, colour in (("random", BLUE), ("conservative", RED)):
                    label = f"{ties} ties" if coverage == "marginal" else None
                    axes.plot(rates_of[coverage, ties], color=colour, alpha=0.7, label=label)
            axes.axhline(RATE, color=GREY, lw=1, ls="--")
            axes.set(xlabel="scores in the bank", ylabel="share taken over", ylim=(-0.02, 0.5))
            axes.legend(frameon=False, loc="lower right")


if __name__ == "__main__":
    main()
