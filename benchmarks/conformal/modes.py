"""Every mode on the published traces: the realised rate of each turn, and of each problem.

    python -m benchmarks.conformal.modes [--draw]

Scores arrive in the order question, turn, repeat. Left: rate by turn. Right: rates of the problems
on turn 0, sorted: coverage that is not conditional is a split by difficulty.
"""

from __future__ import annotations

import random
from collections import Counter

from atts_harness.conformal import CalibrationOptions, make_policy
from benchmarks.conformal.figure import BLUE, GREEN, GREY, RED, arguments, figure
from benchmarks.conformal.traces import BANK, RATE, Row, offer_first_drafts, scored_turns

PUBLISHED = CalibrationOptions(bank=str(BANK), coverage="marginal", rule="reference")
PER_QUESTION = CalibrationOptions(calibration="presample", coverage="conditional")
MODES: dict[str, CalibrationOptions] = {
    "as published (file, first turns, marginal)": PUBLISHED,
    "presample, conditional": PER_QUESTION,
    "presample, turn": CalibrationOptions(calibration="presample"),
    "presample, conditional+turn": CalibrationOptions(
        calibration="presample", coverage="conditional+turn"
    ),
    "online, marginal": CalibrationOptions(coverage="marginal", control="fixed"),
    "online, turn": CalibrationOptions(control="fixed"),
    "online, turn, hierarchical": CalibrationOptions(pvalue="hierarchical", control="fixed"),
    "online, conditional": CalibrationOptions(coverage="conditional", control="fixed"),
    "online, conditional+turn": CalibrationOptions(coverage="conditional+turn", control="fixed"),
    "online, marginal, adaptive": CalibrationOptions(coverage="marginal", control="adaptive"),
    "online, turn, adaptive (default)": CalibrationOptions(),
    "online, conditional+turn, adaptive": CalibrationOptions(
        coverage="conditional+turn", control="adaptive"
    ),
}
DRAWN = {
    "as published (file, first turns, marginal)": RED,
    "online, turn": GREEN,
    "online, turn, adaptive (default)": BLUE,
    "online, conditional+turn": GREY,
}


def realised(
    rows: list[Row], options: CalibrationOptions, seed: int
) -> tuple[dict[int, float], list[float]]:
    """Rates by turn, and the sorted rates of the problems on turn 0."""
    rng = random.Random(seed)
    policy = make_policy(options)
    if policy.presamples:
        offer_first_drafts(policy, rows)
    scored, takeovers = Counter[int](), Counter[int]()
    problem_scored, problem_takeovers = Counter[int](), Counter[int]()
    for row in rows:
        takeover = policy.decide(row.score, row.sample, row.turn, rng.random()).takeover
        scored[row.turn] += 1
        takeovers[row.turn] += takeover
        if row.turn == 0:
            problem_scored[row.question] += 1
            problem_takeovers[row.question] += takeover
    rates = {turn: takeovers[turn] / scored[turn] for turn in sorted(scored)}
    return rates, sorted(problem_takeovers[q] / problem_scored[q] for q in problem_scored)


def main() -> None:
    """Run all, print, draw."""
    args = arguments(__doc__)
    rows = scored_turns()
    by_mode = {}
    print("mode: rate on turns 0, 1, 2, 5, 9, 12; problems on turn 0: 10, 50, 90 %")
    for name, options in MODES.items():
        rates, problems = by_mode[name] = realised(rows, options, args.seed)
        some = " ".join(f"{rates[turn]:.2f}" for turn in (0, 1, 2, 5, 9, 12))
        spread = " ".join(f"{problems[int(q * (len(problems) - 1))]:.2f}" for q in (0.1, 0.5, 0.9))
        print(f"  {name:44} {some}   {spread}")
    if args.draw:
        with figure("modes", columns=2, height=3.2) as (left, right):
            for name, colour in DRAWN.items():
                rates, problems = by_mode[name]
                left.plot(rates.keys(), rates.values(), ".-", color=colour, label=name)
                right.plot(problems, color=colour)
            left.axhline(RATE, color=GREY, lw=1, ls="--")
            left.set(xlabel="turn", ylabel="realised rate", ylim=(0, 0.72))
            left.legend(frameon=False, fontsize=7, loc="lower right")
            right.axhline(RATE, color=GREY, lw=1, ls="--")
            right.set(xlabel="problems, sorted", ylabel="rate on turn 0")


if __name__ == "__main__":
    main()
