"""A change of difficulty half-way: the mean takeover rate over time.

    python -m benchmarks.conformal.drift [--replications N] [--draw]

1,000 scored turns; from turn 500 on scores are higher by 0.7 standard deviations. Banks from a
file (200 scores of before) and online, each with a fixed and an adaptive threshold. Fails unless
`adaptive` is within 0.03 of the rate in the last quarter; it does not aim nearer than its tolerance
(0.018 of the turns so far).
"""

from __future__ import annotations

import random
import statistics

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.records import SampleId
from benchmarks.conformal.figure import BLUE, GREY, RED, arguments, figure

RATE, COUNT, SHIFT, BANK = 0.4, 1000, 0.7, 200
WINDOW = 25


def run(source: str, control: str, seed: int) -> list[bool]:
    """One run's decisions."""
    rng = random.Random(seed)
    bank = None
    if source == "file":
        bank = bank_of((n, 0, rng.gauss(1, 1)) for n in range(BANK))
    options = CalibrationOptions(
        rate=RATE, coverage="marginal", control="adaptive" if control == "adaptive" else "fixed"
    )
    policy = make_policy(options, bank=bank)
    return [
        policy.decide(
            rng.gauss(1 + SHIFT * (n >= COUNT // 2), 1), SampleId("t", n, 0), 0, rng.random()
        ).takeover
        for n in range(COUNT)
    ]


def main() -> None:
    """Simulate, check, draw."""
    args = arguments(__doc__, replications=500)
    means: dict[tuple[str, str], list[float]] = {}
    print(
        f"{args.replications} replications; mean rate before, just after, and in the last quarter"
    )
    for source in ("file", "online"):
        for control in ("fixed", "adaptive"):
            runs = [run(source, control, args.seed + n) for n in range(args.replications)]
            by_time = [statistics.fmean(column) for column in zip(*runs, strict=True)]
            means[source, control] = by_time
            before, after = by_time[250:500], by_time[500:600]
            late = by_time[750:]
            figures = [statistics.fmean(part) for part in (before, after, late)]
            print(f"  {source:7} {control:9} " + " ".join(f"{figure:.3f}" for figure in figures))
            assert control == "fixed" or abs(figures[2] - RATE) <= 0.03, (source, figures)
    if args.draw:
        with figure("drift", columns=2) as panels:
            for axes, source in zip(panels, ("file", "online"), strict=True):
                for control, colour in (("fixed", RED), ("adaptive", BLUE)):
                    values = means[source, control]
                    smooth = [
                        statistics.fmean(values[n : n + WINDOW]) for n in range(0, COUNT, WINDOW)
                    ]
                    axes.plot(range(0, COUNT, WINDOW), smooth, color=colour, label=control)
                axes.axhline(RATE, color=GREY, lw=1, ls="--")
                axes.set(title=f"bank: {source}", xlabel="scored turns", ylim=(0.3, 0.7))
            panels[0].set_ylabel(f"mean rate ({WINDOW} turns)")
            panels[0].legend(frameon=False, loc="upper left")


if __name__ == "__main__":
    main()
