"""Published traces, disjoint questions: calibrate on one half, judge the other, many times.

    python -m benchmarks.conformal.splits [--splits N] [--draw]

`marginal` is the published way: first drafts judge every turn. Fails unless coverage by turn is
within 0.03 of the rate on turns 0-9, in the mean over splits. How far a single split is off, which
no calibration on so few questions can help, is the spread beside it.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.conformal.options import Coverage
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure
from benchmarks.conformal.traces import RATE, TASK, Row, scored_turns

TURNS = 10


def realised(rows: list[Row], coverage: Coverage, seed: int) -> list[float]:
    """Takeover rate of each turn on the half of the questions that the bank does not hold."""
    rng = random.Random(seed)
    questions = sorted({row.question for row in rows})
    half = set(rng.sample(questions, len(questions) // 2))
    bank = bank_of(
        (row.question, row.turn, row.score)
        for row in rows
        if row.question in half and (coverage == "turn" or row.turn == 0)
    )
    policy = make_policy(CalibrationOptions(rate=RATE, coverage=coverage), bank=bank)
    taken, scored = Counter[int](), Counter[int]()
    for row in rows:
        if row.question not in half and row.turn < TURNS:
            verdict = policy.decide(row.score, row.sample, row.turn, rng.random())
            taken[row.turn] += verdict.takeover
            scored[row.turn] += 1
    return [taken[turn] / scored[turn] for turn in range(TURNS)]


def main() -> None:
    """Split, check, draw."""
    args = arguments(__doc__, splits=200)
    rows = scored_turns()
    coverages: tuple[Coverage, ...] = ("marginal", "turn")
    means: dict[str, list[float]] = {}
    spreads: dict[str, list[float]] = {}
    print(f"{args.splits} splits of {TASK}'s questions into halves; realised rate, mean (SD)")
    for coverage in coverages:
        runs = [realised(rows, coverage, args.seed + n) for n in range(args.splits)]
        by_turn = list(zip(*runs, strict=True))
        means[coverage] = [statistics.fmean(turn) for turn in by_turn]
        spreads[coverage] = [statistics.stdev(turn) for turn in by_turn]
        line = " ".join(
            f"{mean:.3f} ({sd:.2f})"
            for mean, sd in zip(means[coverage], spreads[coverage], strict=True)
        )
        worst = max(abs(mean - RATE) for mean in means[coverage])
        print(f"  {coverage:9} largest error of a mean {worst:.3f}; {line}")
    assert max(abs(mean - RATE) for mean in means["turn"]) <= 0.03
    if args.draw:
        with figure("splits") as axes:
            for shift, coverage, colour in ((-0.1, "marginal", RED), (0.1, "turn", BLUE)):
                label = "first drafts judge every turn" if shift < 0 else "a bank for each turn"
                axes.errorbar(
                    [turn + shift for turn in range(TURNS)],
                    means[coverage],
                    spreads[coverage],
                    fmt="o",
                    ms=4,
                    lw=1,
                    color=colour,
                    label=label,
                )
            axes.axhline(RATE, color=GREY, lw=1, ls="--")
            axes.set(
                xlabel="turn", ylabel="realised rate (mean and SD over splits)", ylim=(0.1, 0.7)
            )
            axes.legend(frameon=False)


if __name__ == "__main__":
    main()
