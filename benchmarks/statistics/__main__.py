"""`python -m benchmarks.statistics`: every simulation, and docs/benchmark-statistics.md of them.

Some ten minutes on one core. What does not hold stands on the page and makes the exit status 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.conformal.figure import BLUE, GREY, RED, figure
from benchmarks.statistics import differences, families, gate, shares, stopping
from benchmarks.statistics.grid import PROBLEMS, REPEATS

PAGE = Path(__file__).parents[2] / "docs" / "benchmark-statistics.md"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A Markdown table; figures to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * 1}{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def of_differences(found: list[differences.Cell], cases: int) -> Iterator[str]:
    """Coverage and width by size."""
    yield "## Paired differences"
    yield ""
    yield f"`python -m benchmarks.statistics.differences`: {len(found)} cells of {cases:,} cases"
    yield f"(Monte-Carlo error of a coverage of .95: {(0.05 * 0.95 / cases) ** 0.5:.4f})."
    yield "Difficulty easy, hard, bimodal (logistic-normal) and all right; gains none, small"
    yield "everywhere, on easy problems only, on hard ones only. Where all are right it is the"
    yield "reference that falls short. The method was chosen on two other grids; after the"
    yield "first run of this one half of the correction for skewness came in (one cell covered"
    yield ".923). *Width* is mean width over that of an oracle that knows the variance"
    yield "(1.96 standard errors); cells whose true variance is zero have none. *Before*"
    yield "is Student's"
    yield "t over problems. Coverage is the least over the cells of a line."
    yield ""
    rows = []
    for problems in PROBLEMS:
        for repeats in REPEATS:
            own = [c for c in found if (c.problems, c.repeats) == (problems, repeats)]
            wide = [c for c in own if np.isfinite(c.width)]
            bounded = [c for c in wide if c.expected >= differences.FEW or problems < 30]
            rows.append(
                (
                    f"{problems} x {repeats}",
                    f"{min(c.covered for c in own):.3f}",
                    f"{min(c.before for c in own):.3f}",
                    f"{max(c.covered for c in bounded):.3f}",
                    f"{np.median([c.width for c in wide]):.2f}",
                    f"{max(c.width for c in wide):.2f}",
                    f"{np.median([c.before_width for c in wide]):.2f}",
                    f"{np.median([c.mean_width for c in wide]):.3f}",
                )
            )
    head = ("problems x repeats", "least coverage", "before", "most coverage", "width, median")
    yield from table((*head, "width, most", "width before", "mean width"), rows)
    yield "![coverage and width](figures/statistics-differences.svg)"
    yield ""
    few = [
        c
        for c in found
        if c.problems >= 30 and np.isfinite(c.width) and c.expected < differences.FEW
    ]
    yield f"**Where few problems differ.** In {len(few)} cells with 30 problems or more fewer than"
    yield f"{differences.FEW:g} are expected to differ. There the sample often shows none of them,"
    yield "and the interval has to allow for what was not seen. These cells are exempt from the"
    yield "upper bounds and not from the lower one:"
    yield ""
    yield from table(
        ("cell", "differ", "coverage", "width", "before: coverage", "width"),
        [
            (
                f"{c.name[0]}, {c.name[1]}, {c.problems} x {c.repeats}",
                f"{c.expected:.1f}",
                f"{c.covered:.3f}",
                f"{c.width:.2f}",
                f"{c.before:.3f}",
                f"{c.before_width:.2f}",
            )
            for c in few
        ],
    )
    still = [c for c in found if not np.isfinite(c.width)]
    yield "**Where the variance is zero** (all right on both sides) the width says what is"
    yield "not known:"
    yield ""
    rows = []
    for problems in PROBLEMS:
        widths = [c.mean_width for c in still if c.problems == problems]
        rows.append((problems, *(f"{w:.3f}" for w in widths)))
    yield from table(("problems", *(f"x {k}" for k in REPEATS)), rows)


def draw_differences(found: list[differences.Cell]) -> None:
    """Every cell: coverage now and before, width now."""
    with figure("statistics-differences", columns=2, height=3.2) as (left, right):
        for number, problems in enumerate(PROBLEMS):
            own = [c for c in found if c.problems == problems]
            spots = number + np.linspace(-0.3, 0.3, len(own))
            left.plot(spots, [c.before for c in own], ".", ms=3, color=RED)
            left.plot(spots, [c.covered for c in own], ".", ms=3, color=BLUE)
            right.plot(spots, [c.before_width for c in own], ".", ms=3, color=RED)
            right.plot(spots, [c.width for c in own], ".", ms=3, color=BLUE)
        left.axhline(0.95, color=GREY, lw=1, ls="--")
        right.axhline(1.3, color=GREY, lw=1, ls="--")
        left.set(title="coverage (red: Student's t)", xlabel="problems", ylim=(0, 1.02))
        right.set(title="width over an oracle's", xlabel="problems", yscale="log")
        for axes in (left, right):
            axes.set_xticks(range(len(PROBLEMS)), [str(n) for n in PROBLEMS])


def of_families(cases: int) -> Iterator[str]:
    """Nine at once."""
    yield "## Nine comparisons at once"
    yield ""
    yield f"`python -m benchmarks.statistics.families`, {cases:,} tables a line: in how"
    yield "many all nine"
    yield "intervals hold, and in how many a claim is made where no method gains."
    yield ""
    rows = [
        (f"{d}, {n} x {k}", f"{held:.3f}", f"{claims:.3f}" if reach else "none can be made")
        for d, n, k, held, claims, reach in families.rows(cases)
    ]
    yield from table(("problems", "all hold", "a false claim"), rows)


def of_gate(found: list[gate.Cell], cases: int) -> Iterator[str]:
    """False GOs and power."""
    shares_ = np.array([s for c in found for s in c.false_go.values()])
    error = (0.05 * 0.95 / cases) ** 0.5
    yield "## No worse than: false GOs and power"
    yield ""
    yield f"`python -m benchmarks.statistics.gate`: {shares_.size} cells of {cases:,} cases"
    yield "at a true"
    yield "difference of exactly minus the margin; losses everywhere, on easy problems, on"
    yield "hard ones,"
    yield f"or on one problem in twelve. Monte-Carlo error {error:.4f}: the mean over cells is"
    yield f"{shares_.mean():.3f}, {np.mean(shares_ > 0.05):.0%} lie above .05,"
    yield f"{np.mean(shares_ > 0.05 + 2 * error):.1%}"
    yield f"above .05 by two errors, and the most is {shares_.max():.3f} (z-test:"
    yield f"{max(s for c in found for s in c.false_go_z.values()):.3f})."
    yield "*Power* is that at zero; it is compared with the z-test's where that test keeps"
    yield "its own level"
    yield "(at most .06 over the losses) and has a power of .2 or more."
    yield ""
    rows = []
    for n, k in gate.SIZES:
        own = [c for c in found if (c.problems, c.repeats) == (n, k)]
        ratios = [c.power / c.power_z for c in own if gate.comparable(c)]
        rows.append(
            (
                f"{n} x {k}",
                f"{max(max(c.false_go.values()) for c in own):.3f}",
                f"{max(max(c.false_go_z.values()) for c in own):.3f}",
                f"{min(ratios):.2f} ({len(ratios)} cells)" if ratios else "–",
            )
        )
    head = (
        "problems x repeats",
        "false GO, most",
        "of the z-test",
        "power over the z-test's, least",
    )
    yield from table(head, rows)
    over = sorted(
        ((s, c, loss) for c in found for loss, s in c.false_go.items() if s > 0.05 + 3 * error),
        key=lambda one: -one[0],
    )
    if over:
        yield "Cells above .05 by more than three Monte-Carlo errors:"
        yield ""
        yield from table(
            ("cell", "false GO", "of the z-test"),
            [
                (
                    f"{c.difficulty}, margin {c.margin}, {c.problems} x {c.repeats}, losses {loss}",
                    f"{s:.3f}",
                    f"{c.false_go_z[loss]:.3f}",
                )
                for s, c, loss in over
            ],
        )


def of_shares(found: list[shares.Cell], cases: int) -> Iterator[str]:
    """Takeover rates and AUC."""
    yield "## Takeover rates"
    yield ""
    yield f"`python -m benchmarks.statistics.shares`, {cases:,} cases a cell: rates .05, .1"
    yield "and .3, 20,"
    yield "45 and 70 % of the latent score's variance between problems, turns alike or"
    yield "more for hard"
    yield f"problems. Upper bounds hold where {shares.ENOUGH:g} problems or more are"
    yield "expected to hold"
    yield "takeovers."
    yield ""
    rows = []
    for n in shares.PROBLEMS:
        for k in shares.REPEATS:
            own = [c for c in found if (c.problems, c.repeats) == (n, k)]
            rows.append(
                (
                    f"{n} x {k}",
                    f"{min(c.covered for c in own):.3f}",
                    f"{min(c.before for c in own):.3f}",
                    f"{max(c.covered for c in own):.3f}",
                    f"{np.median([c.width for c in own]):.2f}",
                    f"{max(c.width for c in own):.2f}",
                    f"{np.median([c.before_width for c in own]):.2f}",
                )
            )
    head = ("problems x repeats", "least coverage", "before", "most coverage", "width, median")
    yield from table((*head, "width, most", "width before"), rows)
    yield "![coverage of takeover rates](figures/statistics-shares.svg)"
    yield ""
    with figure("statistics-shares", height=3.0) as axes:
        for number, problems in enumerate(shares.PROBLEMS):
            own = [c for c in found if c.problems == problems]
            spots = number + np.linspace(-0.3, 0.3, len(own))
            axes.plot(spots, [c.before for c in own], ".", ms=3, color=RED)
            axes.plot(spots, [c.covered for c in own], ".", ms=3, color=BLUE)
        axes.axhline(0.95, color=GREY, lw=1, ls="--")
        axes.set(title="coverage (red: Student's t)", xlabel="problems", ylim=(0, 1.02))
        axes.set_xticks(range(len(shares.PROBLEMS)), [str(n) for n in shares.PROBLEMS])
    yield "AUC, four repeats, 600 cases a line:"
    yield ""
    yield from table(
        ("score", "problems", "coverage", "mean width"),
        [(kind, n, f"{covered:.3f}", f"{width:.3f}") for kind, n, covered, width in shares.aucs()],
    )


def of_stopping(cases: int) -> Iterator[str]:
    """Sampling until known."""
    yield "## Sample until known"
    yield ""
    yield f"`python -m benchmarks.statistics.stopping`, {cases:,} cases a line: coverage of"
    yield "the mean over"
    yield "these problems at the moment the rule stops, from two repeats on, at most 256."
    yield ""
    yield from table(
        ("problems", "half-width", "coverage", "repeats, mean", "at the cap"),
        [
            (f"{d}, {n}", f"{h:g}", f"{covered:.3f}", f"{repeats:.1f}", f"{capped:.0%}")
            for d, n, h, covered, repeats, capped in stopping.rows(cases)
        ],
    )


def main() -> None:
    """Simulate, write the page, say what does not hold."""
    made, gated, rates = differences.cells(), gate.cells(), shares.cells()
    draw_differences(made)
    lines = [
        "# What the intervals are worth",
        "",
        "Made by `python -m benchmarks.statistics`; the methods are in",
        "[statistics](statistics.md).",
        "",
        *of_differences(made, differences.CASES),
        *of_families(families.CASES),
        *of_gate(gated, gate.CASES),
        *of_shares(rates, shares.CASES),
        *of_stopping(stopping.CASES),
    ]
    wrong = [
        *differences.faults(made),
        *gate.faults(gated, gate.CASES),
        *shares.faults(rates),
    ]
    lines += ["## What does not hold", ""]
    lines += [f"- {words}" for words in wrong] or ["Nothing of what the scripts check."]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.name}; {len(wrong)} bounds do not hold")
    sys.exit(bool(wrong))


main()  # no guard: `python -m benchmarks` takes scripts with one, and these it takes one by one
