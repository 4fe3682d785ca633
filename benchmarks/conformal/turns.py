"""A run of 120 turns at a rate of 0.05 whose scores drift with the turn.

    python -m benchmarks.conformal.turns [--samples N] [--draw]

Online, coverage by turn. Fails unless every turn's rate is within Monte-Carlo error of 0.05.
"""

from __future__ import annotations

import math
import random

from atts_harness.conformal import CalibrationOptions, make_policy
from atts_harness.records import SampleId
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure

RATE, TURNS = 0.05, 120


def main() -> None:
    """Simulate, check, draw."""
    args = arguments(__doc__, samples=2000)
    rates: dict[str, list[float]] = {}
    error = math.sqrt(RATE * (1 - RATE) / args.samples)
    for coverage in ("marginal", "turn"):
        rng = random.Random(args.seed)
        by_turn = coverage == "turn"
        policy = make_policy(
            CalibrationOptions(
                rate=RATE, coverage="turn" if by_turn else "marginal", control="fixed"
            )
        )
        takeovers = [0] * TURNS
        for doc in range(args.samples):
            for turn in range(TURNS):
                s = 0.5 + math.sin(turn / 9) + turn / 40 + rng.expovariate(1 + turn % 5)
                verdict = policy.decide(s, SampleId("t", doc, 0), turn, rng.random())
                takeovers[turn] += verdict.takeover
        rates[coverage] = [hits / args.samples for hits in takeovers]
        low, high = min(rates[coverage]), max(rates[coverage])
        print(
            f"  {coverage:9} {low:.3f} to {high:.3f} over {TURNS} turns, SD by chance {error:.4f}"
        )
    assert max(abs(rate - RATE) for rate in rates["turn"]) <= 4.2 * error
    if args.draw:
        with figure("turns", height=2.4) as axes:
            axes.plot(rates["marginal"], color=RED, label="one bank for all turns")
            axes.plot(rates["turn"], color=BLUE, label="a bank for each turn")
            axes.axhline(RATE, color=GREY, lw=1, ls="--")
            axes.set(xlabel="turn", ylabel="realised rate", ylim=(-0.01, 0.5))
            axes.legend(frameon=False)


if __name__ == "__main__":
    main()
