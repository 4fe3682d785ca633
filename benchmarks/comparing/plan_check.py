"""What checking a plan costs: processor seconds of reading it and making its cells.

Half of the rows take their rate from the other half. Growth is the ratio of the seconds to those of
half as many cells: 2 is linear.

    python benchmarks/comparing/plan_check.py [CELLS ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from atts_harness.comparing.cells import expand
from atts_harness.comparing.order import in_order
from atts_harness.comparing.plan import read_plan

CELLS = (100, 200, 400, 800, 1600)
ROUNDS = 5


def write(path: Path, cells: int) -> None:
    """A plan of so many cells: two tasks, one pair."""
    rows = range(1, cells // 4 + 1)
    rates = ", ".join(f"{n / 10_000:.4f}" for n in rows)
    followers = "".join(
        f"  - {{strategy: random-takeover, name: r{n}, "
        f"settings: {{rate_of: 'atts-rate={n / 10_000}'}}}}\n"
        for n in rows
    )
    path.write_text(
        "tasks: [atts_chain, atts_chain_easy]\npairs: tiny\nlimit: 5\nstrategies:\n"
        f"  - {{strategy: atts, points: {{rate: [{rates}]}}}}\n{followers}"
    )


def seconds(path: Path) -> float:
    """The least of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        in_order(expand(read_plan(str(path))), 1)
        rounds.append(time.process_time() - began)
    return min(rounds)


def main(sizes: tuple[int, ...]) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        write(path, 20)
        seconds(path)  # imports
        before = None
        print("cells   seconds   ms a cell   growth")
        for cells in sizes:
            write(path, cells)
            took = seconds(path)
            growth = "" if before is None else f"{took / before:.2f}"
            print(f"{cells:5}   {took:7.3f}   {took / cells * 1000:9.3f}   {growth}")
            before = took


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or CELLS)
