"""Clustered scores: what repeats of one question do to the plain p-value.

    python -m benchmarks.conformal.clustered [--trials N] [--draw]

Banks of 1 to 50 questions x 16 scores, 63 % of the variance between questions as in the published
runs; the test score is of a new question. Fails if the hierarchical p-value exceeds the rate, or
if the plain one does not where there are few questions.
"""

from __future__ import annotations

import math
import random

from atts_harness.conformal.banks import PooledBank, QuestionBank
from atts_harness.conformal.pvalues import random_tie
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure

SHARE, REPEATS = 0.63, 16
QUESTIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50)
RATES = (0.05, 0.1, 0.4)


def one(questions: int, rng: random.Random) -> dict[str, float]:
    """Both p-values of one test score against one bank."""
    between, within = math.sqrt(SHARE), math.sqrt(1 - SHARE)
    rows = {}
    for question in range(questions):
        level = rng.gauss(0, between)
        rows[question] = [level + rng.gauss(0, within) for _ in range(REPEATS)]
    score, tie = rng.gauss(0, 1), random_tie(rng.random())
    plain = PooledBank(s for scores in rows.values() for s in scores)
    by_question = QuestionBank(rows)
    return {
        "plain": plain.p_value(plain.rank(score), tie),
        "hierarchical": by_question.p_value(by_question.rank(score, "new"), tie),
    }


def main() -> None:
    """Simulate, check, draw."""
    args = arguments(__doc__, trials=6000)
    rng = random.Random(args.seed)
    shares: dict[tuple[str, float], list[float]] = {}
    print(f"share taken over, {args.trials} trials, {REPEATS} scores a question, ICC {SHARE}")
    for questions in QUESTIONS:
        p_values = [one(questions, rng) for _ in range(args.trials)]
        line = f"  {questions:3} questions:"
        for rate in RATES:
            for kind in ("plain", "hierarchical"):
                share = sum(p[kind] <= rate for p in p_values) / args.trials
                shares.setdefault((kind, rate), []).append(share)
                line += f"  {kind} {share:.3f}"
            line += f" (r = {rate})"
            error = math.sqrt(rate * (1 - rate) / args.trials)
            assert shares["hierarchical", rate][-1] <= rate + 4 * error, (questions, rate)
            assert rate == 0.4 or questions > 4 or shares["plain", rate][-1] > rate + 4 * error
        print(line)
    if args.draw:
        with figure("clustered", columns=len(RATES)) as panels:
            for axes, rate in zip(panels, RATES, strict=True):
                for kind, colour in (("plain", RED), ("hierarchical", BLUE)):
                    axes.plot(QUESTIONS, shares[kind, rate], ".-", color=colour, label=kind)
                axes.axhline(rate, color=GREY, lw=1, ls="--")
                axes.set(title=f"r = {rate}", xlabel="questions in the bank", xscale="log")
                axes.set_ylim(0, None)
            panels[0].set_ylabel("share taken over")
            panels[0].legend(frameon=False)


if __name__ == "__main__":
    main()
