"""Published traces, online, by turn: controllers compared.

    python -m benchmarks.conformal.adaptive [--orders N] [--draws N] [--draw]

Scores arrive question by question (then turn, repeat), which no exchangeability argument covers.
Three figures for each controller: the largest error of a turn's realised rate (turns with at least
100 scores); the share of decisions that agree with the per-turn quantile, known afterwards; and the
AUC of the decisions against the per-turn rank. `ACI` is adaptive conformal inference (Gibbs and
Candes 2021) with a constant step. Fails unless `adaptive` holds 0.02, 0.9 and 0.95 in the order of
the traces; random orders of the questions, on which its constants were chosen, are shown beside it.
"""

from __future__ import annotations

import random
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

from atts_harness.conformal import ConformalPolicy
from atts_harness.conformal.banks import PooledBank
from atts_harness.conformal.control import Adaptive, Controller, Fixed
from atts_harness.conformal.policy import random_ties
from atts_harness.conformal.sources import OnlineSource
from benchmarks.conformal.figure import BLUE, GREEN, GREY, RED, arguments, figure
from benchmarks.conformal.traces import RATE, Row, scored_turns

ENOUGH = 100


class Aci:
    """threshold += step * (rate - takeover)."""

    def __init__(self, rate: float, step: float) -> None:
        self._rate, self._step = rate, step
        self.threshold = rate

    def update(self, takeover: bool) -> None:
        """One step."""
        self.threshold += self._step * (self._rate - takeover)


def _aci(step: float) -> Callable[[], Controller]:
    return lambda: Aci(RATE, step)


CONTROLLERS: dict[str, Callable[[], Controller]] = {
    "fixed": lambda: Fixed(RATE),
    "adaptive": lambda: Adaptive(RATE),
    **{f"ACI {step}": _aci(step) for step in (0.005, 0.01, 0.02, 0.05, 0.1)},
}


class Outcome(NamedTuple):
    """How a controller did."""

    error: float
    agreement: float
    auc: float
    rates: dict[int, float]


def outcome(rows: list[Row], controller: Callable[[], Controller], seed: int) -> Outcome:
    """Run all decisions in the order of `rows`."""
    rng = random.Random(seed)
    policy = ConformalPolicy(OnlineSource("turn", PooledBank), random_ties, controller)
    by_turn = defaultdict(list)
    for row in rows:
        by_turn[row.turn].append(row.score)
    by_rank = {turn: sorted(scores) for turn, scores in by_turn.items()}
    takeovers, agree = Counter[int](), 0
    ranks: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        takeover = policy.decide(row.score, row.sample, row.turn, rng.random()).takeover
        scores = by_rank[row.turn]
        rank = bisect_left(scores, row.score) / len(scores)
        takeovers[row.turn] += takeover
        agree += takeover == (rank >= 1 - RATE)
        ranks[takeover].append(rank)
    rates = {turn: takeovers[turn] / len(scores) for turn, scores in sorted(by_rank.items())}
    errors = [abs(rates[turn] - RATE) for turn in rates if len(by_rank[turn]) >= ENOUGH]
    return Outcome(max(errors), agree / len(rows), auc(ranks[True], ranks[False]), rates)


def auc(positive: list[float], negative: list[float]) -> float:
    """Chance that a positive ranks above a negative, ties half."""
    ranked = sorted(negative)
    wins = sum(bisect_left(ranked, x) + bisect_right(ranked, x) for x in positive)
    return wins / (2 * len(positive) * len(negative))


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """The same turns with the questions in another order."""
    rng = random.Random(seed)
    questions = sorted({row.question for row in rows})
    place = dict(zip(rng.sample(questions, len(questions)), questions, strict=True))
    return sorted(rows, key=lambda row: (place[row.question], row.turn, row.repeat))


def main() -> None:
    """Compare, check, draw."""
    args = arguments(__doc__, orders=30, draws=20)
    rows = scored_turns()
    orders = [shuffled(rows, args.seed + n) for n in range(args.orders)]
    recorded: dict[str, list[Outcome]] = {}
    print(f"traces' order, {args.draws} draws of ties: largest error / least agreement / least AUC")
    print(f"{args.orders} random orders: median error (90 %), mean agreement, mean AUC")
    for name, controller in CONTROLLERS.items():
        outcomes = [outcome(rows, controller, args.seed + n) for n in range(args.draws)]
        other = [outcome(order, controller, n) for n, order in enumerate(orders)]
        recorded[name] = outcomes
        errors = sorted(o.error for o in other)
        print(
            f"  {name:10} {max(o.error for o in outcomes):.3f} "
            f"{min(o.agreement for o in outcomes):.3f} "
            f"{min(o.auc for o in outcomes):.3f}   {statistics.median(errors):.3f} "
            f"({errors[int(0.9 * (len(errors) - 1))]:.3f}) "
            f"{statistics.fmean(o.agreement for o in other):.3f} "
            f"{statistics.fmean(o.auc for o in other):.3f}"
        )
    ours = recorded["adaptive"]
    assert max(o.error for o in ours) <= 0.02
    assert min(o.agreement for o in ours) >= 0.9
    assert min(o.auc for o in ours) >= 0.95
    if args.draw:
        with figure("adaptive", columns=2) as (left, right):
            for name, colour in (("fixed", RED), ("ACI 0.01", GREEN), ("adaptive", BLUE)):
                rates = recorded[name][0].rates
                left.plot(rates.keys(), rates.values(), ".-", color=colour, label=name)
            left.axhspan(RATE - 0.02, RATE + 0.02, color=GREY, alpha=0.2, lw=0)
            left.axvline(12.5, color=GREY, lw=0.8, ls=":")
            left.set(xlabel="turn (13, 14: fewer than 100 scores)", ylabel="realised rate")
            left.legend(frameon=False, loc="lower left")
            for name, outcomes in recorded.items():
                first = outcomes[0]
                colour = {"fixed": RED, "adaptive": BLUE}.get(name, GREEN)
                right.plot(first.error, first.agreement, "o", color=colour)
                right.annotate(
                    name,
                    (first.error, first.agreement),
                    (4, 4),
                    textcoords="offset points",
                    fontsize=7,
                )
            right.axvline(0.02, color=GREY, lw=0.8, ls=":")
            right.axhline(0.9, color=GREY, lw=0.8, ls=":")
            right.set(xlabel="largest error of a turn", ylabel="agreement with the quantile")


if __name__ == "__main__":
    main()
