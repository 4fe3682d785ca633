"""`python -m benchmarks.statistics`: docs/benchmark-statistics.md of what the simulations found.

What `python -m benchmarks.statistics.record` left in build/ is used; what is missing is simulated
first, some ten minutes on one core in all. What does not hold stands on the page and makes the
exit status 1.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conformal.figure import BLUE, GREY, RED, figure
from benchmarks.statistics import differences, families, gate, shares, stopping
from benchmarks.statistics.grid import PROBLEMS, REPEATS
from benchmarks.statistics.record import recorded

PAGE = Path(__file__).parents[2] / "docs" / "benchmark-statistics.md"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A Markdown table; figures to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * 1}{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def prose(text: str) -> Iterator[str]:
    """A paragraph, in lines of a page."""
    yield from textwrap.wrap(" ".join(text.split()), 100)
    yield ""


def of_differences(
    cells: list[differences.Cell], limits: list[dict[str, Any]], cases: int
) -> Iterator[str]:
    """Coverage and width by size."""
    yield "## Paired differences"
    yield ""
    yield from prose(f"""`python -m benchmarks.statistics.differences`: {len(cells)} combinations
        (*cells*) of difficulty, gain and size, with {cases:,} simulated cases each (Monte-Carlo
        error of a coverage of .95: {(0.05 * 0.95 / cases) ** 0.5:.4f}). Problems are easy, hard,
        bimodal (logistic-normal) or all right. One method gains nothing, a little everywhere, only
        on easy problems, or only on hard ones; if all are right, the reference falls short instead.
        The method was chosen on two other grids. One part of it, half of the correction for
        skewness, was added after a first run of this grid, in which one cell covered .923. Nothing
        was changed since then, and these figures are of new seeds.""")
    yield from prose("""*Coverage* is how often the interval contains the truth; a line shows the
        least over its cells. *Width* is the mean width, divided by that of an oracle that knows the
        variance (1.96 standard errors); cells whose true variance is zero have none. *Before* is
        Student's t over problems, which was used up to commit 5a0ccb0.""")
    rows = []
    for problems in PROBLEMS:
        for repeats in REPEATS:
            of_size = [c for c in cells if (c.problems, c.repeats) == (problems, repeats)]
            wide = [c for c in of_size if np.isfinite(c.width)]
            rows.append(
                (
                    f"{problems} x {repeats}",
                    f"{min(c.covered for c in of_size):.3f}",
                    f"{min(c.before for c in of_size):.3f}",
                    f"{max(c.covered for c in wide):.3f}",
                    f"{np.median([c.width for c in wide]):.2f}",
                    f"{max(c.width for c in wide):.2f}",
                    f"{np.median([c.before_width for c in wide]):.2f}",
                    f"{np.median([c.mean_width for c in wide]):.3f}",
                    f"{np.median([c.mean_width / c.width * c.before_width for c in wide]):.3f}",
                )
            )
    head = ("problems x repeats", "least coverage", "before", "most coverage", "width, median")
    yield from table((*head, "width, most", "width before", "mean width", "before"), rows)
    yield "![coverage and width](figures/statistics-differences.svg)"
    yield ""
    yield from of_limits(limits)
    still = [c for c in cells if not np.isfinite(c.width)]
    yield from prose("""**If the variance is zero** (all answers right on both sides), the width
        shows what so few problems leave unknown:""")
    rows = []
    for problems in PROBLEMS:
        widths = [c.mean_width for c in still if c.problems == problems]
        rows.append((problems, *(f"{w:.3f}" for w in widths)))
    yield from table(("problems", *(f"x {k}" for k in REPEATS)), rows)


def of_limits(limits: list[dict[str, Any]]) -> Iterator[str]:
    """Cells that cover or are wider than they should, and what any interval can reach there."""
    yield from prose(f"""**Too wide or too safe.** {len(limits)} cells with 30 problems or more
        cover more than .985 or are wider than 1.3 times the oracle's. In all of them few problems
        differ, and many samples show none of these. *Least width* is the smallest width of an
        interval that covers .93 (.95) whatever the differences are: the integral of the chance that
        the best test of a value does not reject it (Pratt 1961; `limits.py`). No single method
        reaches it for every truth. Ours is below it with four repeats, because it promises nothing
        if a very rare kind of problem is lost altogether. *Exact* is Clopper and Pearson's interval
        (scipy's `binomtest`), which knows that all differences have one sign. It also covers more
        than .985, and is wider than 1.3 where ours is widest.""")
    yield from table(
        (
            "cell",
            "differ",
            "coverage",
            "width",
            "least width, .93",
            ".95",
            "exact: coverage",
            "width",
            "before: coverage",
            "width",
        ),
        [
            (
                "{0}, {1}, {problems} x {repeats}".format(*c["name"], **c),
                f"{c['expected']:.1f}",
                f"{c['covered']:.3f}",
                f"{c['width']:.2f}",
                f"{one['least']:.2f}",
                f"{one['nominal']:.2f}",
                *(
                    (f"{one['exact_covered']:.3f}", f"{one['exact_width']:.2f}")
                    if c["repeats"] == 1
                    else ("–", "–")
                ),
                f"{c['before']:.3f}",
                f"{c['before_width']:.2f}",
            )
            for one in limits
            for c in [one["cell"]]
        ],
    )


def draw_differences(cells: list[differences.Cell]) -> None:
    """Every cell: coverage now and before, width now."""
    with figure("statistics-differences", columns=2, height=3.2) as (left, right):
        for number, problems in enumerate(PROBLEMS):
            of_size = [c for c in cells if c.problems == problems]
            spots = number + np.linspace(-0.3, 0.3, len(of_size))
            left.plot(spots, [c.before for c in of_size], ".", ms=3, color=RED)
            left.plot(spots, [c.covered for c in of_size], ".", ms=3, color=BLUE)
            right.plot(spots, [c.before_width for c in of_size], ".", ms=3, color=RED)
            right.plot(spots, [c.width for c in of_size], ".", ms=3, color=BLUE)
        left.axhline(0.95, color=GREY, lw=1, ls="--")
        right.axhline(1.3, color=GREY, lw=1, ls="--")
        left.set(title="coverage (red: Student's t)", xlabel="problems", ylim=(0, 1.02))
        right.set(title="width over an oracle's", xlabel="problems", yscale="log")
        for axes in (left, right):
            axes.set_xticks(range(len(PROBLEMS)), [str(n) for n in PROBLEMS])


def of_families(rows_: list[Any], cases: int) -> Iterator[str]:
    """Nine at once."""
    yield "## Nine comparisons at once"
    yield ""
    yield from prose(f"""`python -m benchmarks.statistics.families`, {cases:,} tables a line: the
        share of tables in which all nine intervals hold, and the share in which a difference is
        claimed although no method gains.""")
    rows = [
        (f"{d}, {n} x {k}", f"{covered:.3f}", f"{claims:.3f}" if reach else "none can be made")
        for d, n, k, covered, claims, reach in rows_
    ]
    yield from table(("problems", "all hold", "a false claim"), rows)


def of_gate(cells: list[gate.Cell], anew: list[dict[str, Any]], cases: int) -> Iterator[str]:
    """False GOs and power."""
    shares_ = np.array([s for c in cells for s in c.false_go.values()])
    error = (0.05 * 0.95 / cases) ** 0.5
    yield "## No worse than: false GOs and power"
    yield ""
    yield from prose(f"""`python -m benchmarks.statistics.gate`: {shares_.size} cells of {cases:,}
        cases at a true difference of exactly minus the margin, where a GO is false. The losses are
        everywhere, on easy problems, on hard ones, or on one problem in twelve. Monte-Carlo error
        {error:.4f}: the mean over cells is {shares_.mean():.3f}, {np.mean(shares_ > 0.05):.0%} lie
        above .05,
        {np.mean(shares_ > 0.05 + 2 * error):.1%} above .05 by two errors,
        {np.mean(shares_ > 0.05 + 3 * error):.1%} by three, and the most is {shares_.max():.3f}
        (z-test: {max(s for c in cells for s in c.false_go_z.values()):.3f}). The method was chosen
        on another grid (`choice.py`). A first run of this grid then showed .055 to .061 with one
        repeat, for 12 problems and for samples with losses alone. So the parts for fewer than 30
        problems and for one sign were added, and these figures are of new seeds.""")
    rows = []
    for n, k in gate.SIZES:
        of_size = [c for c in cells if (c.problems, c.repeats) == (n, k)]
        bounded = [c for c in of_size if c.bound]
        raw = [c.power / c.power_z for c in bounded]
        adjusted = [c.power / c.power_adjusted for c in bounded if c.power_adjusted >= 0.2]
        rows.append(
            (
                f"{n} x {k}",
                f"{max(max(c.false_go.values()) for c in of_size):.3f}",
                f"{max(max(c.false_go_z.values()) for c in of_size):.3f}",
                f"{sum(r >= 0.9 for r in raw)} of {len(raw)}" if raw else "–",
                f"{sum(c.power >= 0.9 * c.power_z for c in bounded if c.possible)} of "
                f"{sum(c.possible for c in bounded)}"
                if bounded
                else "–",
                f"{sum(r >= 0.9 for r in adjusted)} of {len(adjusted)}" if adjusted else "–",
                f"{np.median(adjusted):.2f}" if adjusted else "–",
            )
        )
    head = (
        "problems x repeats",
        "false GO, most",
        "of the z-test",
        "power .9 of the z-test's",
        "where possible",
        ".9 of the adjusted one",
        "ratio to it, median",
    )
    yield from table(head, rows)
    yield from prose("""*Power* is the chance of a GO at a true difference of zero, in cells where
        the z-test has a power of .2 or more. The z-test breaks the level .05 in most of them, so
        its power is not a fair goal: if no difference occurs, its variance is zero and it passes at
        once. *Where possible* counts only cells in which some test of level .05 could reach .9 of
        that power. This is computed with the best test of zero against one of the losses, which
        knows both distributions (Neyman and Pearson). *Adjusted* is the z-test with its critical
        value raised until it keeps .05 over the losses of the cell.""")
    short = [c for c in cells if c.bound and c.possible and c.power < 0.9 * c.power_z]
    if short:
        yield "Cells where .9 of the z-test's power is possible and not reached:"
        yield ""
        yield from table(
            ("cell", "power", "z-test", "its false GO, most", "adjusted z-test", "best possible"),
            [
                (
                    f"{c.difficulty}, margin {c.margin}, {c.problems} x {c.repeats}",
                    f"{c.power:.3f}",
                    f"{c.power_z:.3f}",
                    f"{max(c.false_go_z.values()):.3f}",
                    f"{c.power_adjusted:.3f}",
                    f"{c.limit:.3f}",
                )
                for c in short
            ],
        )
    if anew:
        yield from prose(f"""The largest of many noisy shares is too large. So the cells that are
            above .05 by two errors were measured again in {gate.AGAIN:,} new cases (error
            {(0.05 * 0.95 / gate.AGAIN) ** 0.5:.4f}):""")
        yield from table(
            ("cell", "false GO", "anew", "of the z-test"),
            [
                (
                    "{difficulty}, margin {margin}, {problems} x {repeats}, losses {loss}".format(
                        **one["cell"], loss=one["loss"]
                    ),
                    f"{one['cell']['false_go'][one['loss']]:.3f}",
                    f"{one['share']:.4f}",
                    f"{one['cell']['false_go_z'][one['loss']]:.3f}",
                )
                for one in anew
            ],
        )
    draw_gate(cells)
    yield "![false GOs and power](figures/statistics-gate.svg)"
    yield ""


def draw_gate(cells: list[gate.Cell]) -> None:
    """Every cell: false GOs, and power over the adjusted z-test's."""
    with figure("statistics-gate", columns=2, height=3.2) as (left, right):
        for number, (n, k) in enumerate(gate.SIZES):
            of_size = [c for c in cells if (c.problems, c.repeats) == (n, k)]
            go = [s for c in of_size for s in c.false_go.values()]
            go_z = [s for c in of_size for s in c.false_go_z.values()]
            spots = number + np.linspace(-0.3, 0.3, len(go))
            left.plot(spots, go_z, ".", ms=3, color=RED)
            left.plot(spots, go, ".", ms=3, color=BLUE)
            bounded = [c for c in of_size if c.bound and c.power_adjusted >= 0.2]
            spots = number + np.linspace(-0.3, 0.3, len(bounded))
            right.plot(spots, [c.power / c.power_adjusted for c in bounded], ".", ms=4, color=BLUE)
        left.axhline(0.05, color=GREY, lw=1, ls="--")
        right.axhline(0.9, color=GREY, lw=1, ls="--")
        left.set(title="false GO (red: z-test)", ylim=(0, 0.3))
        right.set(title="power over the adjusted z-test's")
        for axes in (left, right):
            axes.set_xticks(
                range(len(gate.SIZES)), [f"{n} x {k}" for n, k in gate.SIZES], rotation=60
            )


def of_shares(cells: list[shares.Cell], aucs: list[Any], cases: int) -> Iterator[str]:
    """Takeover rates and AUC."""
    yield "## Takeover rates"
    yield ""
    yield from prose(f"""`python -m benchmarks.statistics.shares`, {cases:,} cases a cell: rates of
        .05, .1 and .3; 20, 45 and 70 % of the variance of the latent score between problems; as
        many turns for all problems, or more for hard ones. Upper bounds hold if at least
        {shares.ENOUGH:g} problems are expected to have takeovers.""")
    rows = []
    for n in shares.PROBLEMS:
        for k in shares.REPEATS:
            of_size = [c for c in cells if (c.problems, c.repeats) == (n, k)]
            rows.append(
                (
                    f"{n} x {k}",
                    f"{min(c.covered for c in of_size):.3f}",
                    f"{min(c.before for c in of_size):.3f}",
                    f"{max(c.covered for c in of_size):.3f}",
                    f"{np.median([c.width for c in of_size]):.2f}",
                    f"{max(c.width for c in of_size):.2f}",
                    f"{np.median([c.before_width for c in of_size]):.2f}",
                )
            )
    head = ("problems x repeats", "least coverage", "before", "most coverage", "width, median")
    yield from table((*head, "width, most", "width before"), rows)
    yield "![coverage of takeover rates](figures/statistics-shares.svg)"
    yield ""
    with figure("statistics-shares", height=3.0) as axes:
        for number, problems in enumerate(shares.PROBLEMS):
            of_size = [c for c in cells if c.problems == problems]
            spots = number + np.linspace(-0.3, 0.3, len(of_size))
            axes.plot(spots, [c.before for c in of_size], ".", ms=3, color=RED)
            axes.plot(spots, [c.covered for c in of_size], ".", ms=3, color=BLUE)
        axes.axhline(0.95, color=GREY, lw=1, ls="--")
        axes.set(title="coverage (red: Student's t)", xlabel="problems", ylim=(0, 1.02))
        axes.set_xticks(range(len(shares.PROBLEMS)), [str(n) for n in shares.PROBLEMS])
    yield from prose("""AUC with four repeats, 600 cases a line; *before* is the percentile
        bootstrap over problems:""")
    yield from table(
        ("score", "problems", "coverage", "before", "mean width", "before"),
        [
            (kind, n, f"{covered:.3f}", f"{before:.3f}", f"{width:.3f}", f"{before_width:.3f}")
            for kind, n, covered, width, before, before_width in aucs
        ],
    )


def of_stopping(rows_: list[Any], cases: int) -> Iterator[str]:
    """Sampling until known."""
    yield "## Sample until known"
    yield ""
    yield from prose(f"""`python -m benchmarks.statistics.stopping`, {cases:,} cases a line: how
        often the interval of the mean over these problems contains the truth when the rule stops.
        It begins with two repeats and ends at 256.""")
    yield from table(
        ("problems", "half-width", "coverage", "repeats, mean", "at the cap"),
        [
            (f"{d}, {n}", f"{h:g}", f"{covered:.3f}", f"{repeats:.1f}", f"{capped:.0%}")
            for d, n, h, covered, repeats, capped in rows_
        ],
    )


def main() -> None:
    """Write the page of what was recorded, say what does not hold."""
    of_d, of_g, of_s = recorded("differences"), recorded("gate"), recorded("shares")
    pairs = [differences.Cell(**{**one, "name": tuple(one["name"])}) for one in of_d["cells"]]
    gated = [gate.Cell(**one) for one in of_g["cells"]]
    rates = [shares.Cell(**one) for one in of_s["cells"]]
    anew = [(gate.Cell(**one["cell"]), one["loss"], one["share"]) for one in of_g["again"]]
    draw_differences(pairs)
    lines = [
        "# What the intervals are worth",
        "",
        "How often do the intervals of a report contain the truth, and how wide are they? This is",
        "simulated by `python -m benchmarks.statistics`. The page [statistics](statistics.md)",
        "explains the methods.",
        "",
        *of_differences(pairs, of_d["limits"], differences.CASES),
        *of_families(recorded("families"), families.CASES),
        *of_gate(gated, of_g["again"], gate.CASES),
        *of_shares(rates, of_s["aucs"], shares.CASES),
        *of_stopping(recorded("stopping"), stopping.CASES),
    ]
    wrong = [
        *differences.faults(pairs),
        *gate.faults(gated, anew),
        *shares.faults(rates),
    ]
    lines += ["## What does not hold", ""]
    lines += [f"- {words}" for words in wrong] or ["Nothing of what the scripts check."]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.name}; {len(wrong)} bounds do not hold")
    sys.exit(bool(wrong))


main()  # no guard: `python -m benchmarks` takes scripts with one, and these it takes one by one
