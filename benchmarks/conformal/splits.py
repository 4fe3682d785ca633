"""Published traces, disjoint questions: calibrate on one half, judge the other, many times.

    python -m benchmarks.conformal.splits [--splits N] [--draw]

Two banks are compared at each turn index: first drafts that judge every turn (`marginal`, the
published way) and a bank for each turn (`turn`). Each split of the questions into halves is used in
both directions, so every scored turn is judged once by questions that are not its own. For each
turn index the script prints:

- *rate*: the realised rate, mean over splits, with its 95 % interval clustered by question. The
  interval takes the banks as given: it says how far the rate could be off for other questions.
  A star marks a rate whose interval for all lines at once (Bonferroni) leaves the nominal one out.
- *one bank*: the range of the middle 95 % of judged halves. This is what a run with one bank of
  half the questions has to live with.
- *holds*: the share of judged halves whose own clustered interval holds the nominal rate.

Fails unless coverage by turn is within 0.03 of the rate on turns 0-9 in the mean over splits and no
line has a star, and unless the published way has a star on some line.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Set
from dataclasses import dataclass

from atts_harness.analysis.statistics import Estimate, clustered_ratio
from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.conformal.options import Coverage
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure
from benchmarks.conformal.traces import RATE, TASK, Row, scored_turns

DRAWN = 10
"""Turns in the figure and in the check of means; later ones have few questions."""
LATER = 3
"""First of the turns that are pooled in a line of their own."""
BANKS: dict[Coverage, str] = {
    "marginal": "first drafts judge every turn",
    "turn": "a bank for each turn",
}


@dataclass(frozen=True)
class AtTurn:
    """What all splits say of one turn index, or of several."""

    rate: Estimate
    at_once: Estimate
    halves: list[float]
    holding: float

    @property
    def star(self) -> bool:
        """Whether the interval for all lines at once leaves the rate out."""
        return not holds(self.at_once)

    @property
    def cell(self) -> str:
        """As the table shows it."""
        ends = statistics.quantiles(self.halves, n=40)
        return (
            f"{self.rate.value:.3f} ({self.rate.low:.2f} to {self.rate.high:.2f})"
            f"{'*' if self.star else ''} | {ends[0]:.2f} to {ends[-1]:.2f} | {self.holding:.2f}"
        )


def holds(estimate: Estimate) -> bool:
    """Whether an interval holds the nominal rate; true where one question leaves it unknown."""
    return estimate.low is None or estimate.high is None or estimate.low <= RATE <= estimate.high


def judge(
    rows: list[Row], coverage: Coverage, calibration: Set[int], rng: random.Random
) -> dict[int, bool]:
    """Takeovers, by the row's position, on the questions that the bank does not hold."""
    bank = bank_of(
        (row.question, row.turn, row.score)
        for row in rows
        if row.question in calibration and (coverage == "turn" or row.turn == 0)
    )
    policy = make_policy(CalibrationOptions(rate=RATE, coverage=coverage), bank=bank)
    return {
        place: policy.decide(row.score, row.sample, row.turn, rng.random()).takeover
        for place, row in enumerate(rows)
        if row.question not in calibration
    }


def groups(last: int) -> dict[str, range]:
    """Turns by the name of their line in the table: each alone, all later ones, all."""
    alone = {str(turn): range(turn, turn + 1) for turn in range(last + 1)}
    return alone | {f"{LATER}-{last}": range(LATER, last + 1), "all": range(last + 1)}


def over_splits(rows: list[Row], coverage: Coverage, splits: int, seed: int) -> dict[str, AtTurn]:
    """Every group of turns, judged by many banks."""
    questions = {row.question for row in rows}
    last = max(row.turn for row in rows)
    places = {
        name: [place for place, row in enumerate(rows) if row.turn in turns]
        for name, turns in groups(last).items()
    }
    hits = [0] * len(rows)
    halves: dict[str, list[float]] = {name: [] for name in places}
    holding: dict[str, list[bool]] = {name: [] for name in places}
    for split in range(splits):
        rng = random.Random(seed + split)
        half = set(rng.sample(sorted(questions), len(questions) // 2))
        for calibration in (half, questions - half):
            takeovers = judge(rows, coverage, calibration, rng)
            for place, takeover in takeovers.items():
                hits[place] += takeover
            for name, of_group in places.items():
                judged = [place for place in of_group if place in takeovers]
                if judged:
                    estimate = share(rows, judged, [float(takeovers[place]) for place in judged])
                    halves[name].append(estimate.value)
                    holding[name].append(holds(estimate))
    at_once = 1 - 0.05 / len(places)
    by_group = {}
    for name, of_group in places.items():
        means = [hits[place] / splits for place in of_group]
        by_group[name] = AtTurn(
            share(rows, of_group, means),
            share(rows, of_group, means, at_once),
            halves[name],
            statistics.fmean(holding[name]),
        )
    return by_group


def share(
    rows: list[Row], places: list[int], takeovers: list[float], level: float = 0.95
) -> Estimate:
    """Share of turns taken over, clustered by question."""
    questions = [rows[place].question for place in places]
    return clustered_ratio(takeovers, [1.0] * len(takeovers), questions, level=level)


def main() -> None:
    """Split, check, draw."""
    args = arguments(__doc__, splits=200)
    rows = scored_turns()
    by_bank = {bank: over_splits(rows, bank, args.splits, args.seed) for bank in BANKS}
    print(f"{args.splits} splits of {TASK}'s {len(rows):,} scored turns, by question, into halves")
    print(f"| turn | turns | questions |{' rate (95 %) | one bank | holds |' * 2}")
    print(f"|---|{'---|' * 8}")
    for name, by_first in by_bank["marginal"].items():
        size = f"{by_first.rate.items:,} | {by_first.rate.clusters}"
        print(f"| {name} | {size} | {by_first.cell} | {by_bank['turn'][name].cell} |")
    early = {bank: [of[str(turn)] for turn in range(DRAWN)] for bank, of in by_bank.items()}
    worst = {bank: max(abs(at.rate.value - RATE) for at in of) for bank, of in early.items()}
    for bank, error in worst.items():
        print(f"{BANKS[bank]}: largest error of a mean on turns 0-{DRAWN - 1} {error:.3f}")
    assert worst["turn"] <= 0.03
    assert not any(at.star for at in by_bank["turn"].values())
    assert any(at.star for at in by_bank["marginal"].values())
    if args.draw:
        draw(early)


def draw(by_bank: dict[Coverage, list[AtTurn]]) -> None:
    """Means, with what a single bank has to live with."""
    with figure("splits") as axes:
        for shift, (bank, turns), colour in zip(
            (-0.1, 0.1), by_bank.items(), (RED, BLUE), strict=True
        ):
            axes.errorbar(
                [turn + shift for turn in range(len(turns))],
                [at.rate.value for at in turns],
                [statistics.stdev(at.halves) for at in turns],
                fmt="o",
                ms=4,
                lw=1,
                color=colour,
                label=BANKS[bank],
            )
        axes.axhline(RATE, color=GREY, lw=1, ls="--")
        axes.set(xlabel="turn", ylabel="realised rate (mean and SD over splits)", ylim=(0.1, 0.7))
        axes.legend(frameon=False)


if __name__ == "__main__":
    main()
