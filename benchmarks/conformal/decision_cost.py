"""What one decision costs, against counting with numpy and against crepes.

    python -m benchmarks.conformal.decision_cost [--draw]

CPU time of this process, the best of several rounds, banks of 10^3 to 10^6 scores. `decide` is the
whole online decision: rank, controller, insertion. `rank` is the p-value alone, as the others
compute it. crepes is optional: `pip install crepes`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np

from atts_harness.conformal import CalibrationOptions, make_policy
from atts_harness.conformal.banks import PooledBank, QuestionBank
from atts_harness.records import SampleId
from benchmarks.conformal.figure import BLUE, GREEN, GREY, RED, arguments, figure

SIZES = (10**3, 10**4, 10**5, 10**6)
ROUNDS = 5
REPEATS = 16


def microseconds(work: Callable[[float], object], scores: list[float]) -> float:
    """The best round's CPU time a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for score in scores:
            work(score)
        best = min(best, time.process_time() - began)
    return best / len(scores) * 1e6


def online(bank: list[float]) -> Callable[[float], object]:
    """An online policy that has seen the bank."""
    policy = make_policy(CalibrationOptions(coverage="marginal", control="adaptive"))
    sample = SampleId("t", 0, 0)
    for score in bank:
        policy.decide(score, sample, 0, 0.5)
    return lambda score: policy.decide(score, sample, 0, 0.5)


def by_question(bank: list[float]) -> Callable[[float], object]:
    """The hierarchical p-value, questions of 16 scores."""
    rows = {n: bank[n : n + REPEATS] for n in range(0, len(bank), REPEATS)}
    questions = QuestionBank(rows)
    return lambda score: questions.p_value(questions.rank(score, "new"), 0.5)


def pooled(bank: list[float]) -> Callable[[float], object]:
    """The plain p-value."""
    pooled_bank = PooledBank(bank)
    return lambda score: pooled_bank.p_value(pooled_bank.rank(score), 0.5)


def numpy_count(bank: list[float]) -> Callable[[float], object]:
    """Counting, as the published code does."""
    array = np.array(bank)
    return lambda score: (1 + np.count_nonzero(array >= score)) / (len(array) + 1)


def crepes_p_value(bank: list[float]) -> Callable[[float], object] | None:
    """crepes' smoothed p-value of one score."""
    try:
        from crepes import ConformalClassifier  # type: ignore[import-untyped]
    except ImportError:
        return None
    classifier = ConformalClassifier()
    classifier.fit(np.array(bank))
    return lambda score: classifier.predict_p(np.array([[score]]), seed=0)


KINDS: dict[str, tuple[Callable[[list[float]], Callable[[float], object] | None], int, str]] = {
    "decide": (online, 2000, BLUE),
    "rank": (pooled, 2000, GREEN),
    "rank, hierarchical": (by_question, 2000, "#7a4fb5"),
    "numpy count": (numpy_count, 200, GREY),
    "crepes": (crepes_p_value, 100, RED),
}


def main() -> None:
    """Measure, print, draw."""
    args = arguments(__doc__)
    rng = random.Random(args.seed)
    costs: dict[str, list[float]] = {}
    print("microseconds a decision; bank of " + ", ".join(f"{size:,}" for size in SIZES))
    for name, (make, count, _) in KINDS.items():
        for size in SIZES:
            work = make([rng.random() for _ in range(size)])
            if work is None:
                print(f"  {name}: not installed")
                break
            costs.setdefault(name, []).append(
                microseconds(work, [rng.random() for _ in range(count)])
            )
        else:
            print(f"  {name:19} " + " ".join(f"{value:9.2f}" for value in costs[name]))
    if args.draw:
        with figure("decision_cost", height=2.6) as axes:
            for name, values in costs.items():
                axes.loglog(SIZES, values, "o-", ms=3, color=KINDS[name][2], label=name)
            axes.set(xlabel="scores in the bank", ylabel="microseconds")
            axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
