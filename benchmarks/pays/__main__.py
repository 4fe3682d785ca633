"""docs/does-it-pay.md, docs/signals.md, docs/claims.md and their figures, from what is kept.

    python -m benchmarks.pays

Reads what `benchmarks.pays.measured`, `.signals` and `.simulated` keep beside it;
`benchmarks.pays.breakeven` makes docs/break-even.md.
"""

from __future__ import annotations

from benchmarks.pays import measured, signals, simulated
from benchmarks.pays.claims import claims_parts
from benchmarks.pays.figures import draw_frontier, draw_waiting
from benchmarks.pays.marked import DOCS, put
from benchmarks.pays.regions import simulated_parts
from benchmarks.pays.verdicts import measured_parts


def main() -> None:
    """Write the pages' parts and the figures."""
    run, made = measured.load(), simulated.load()
    put(DOCS / "does-it-pay.md", measured_parts(run) | simulated_parts(made))
    if signals.FILE.exists():
        put(DOCS / "signals.md", signals.parts(signals.load(), run))
    put(DOCS / "claims.md", claims_parts(run, made))
    draw_frontier(run, made)
    draw_waiting(made)


if __name__ == "__main__":
    main()
