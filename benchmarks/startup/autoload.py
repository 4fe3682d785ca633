"""Does the start-up file cost anything? `python -c pass` with and without it, in one run.

Bare virtual environments that differ in the `.pth` file only, one of them twice without it to see
what the machine's noise alone amounts to; the runs alternate, so that whatever else the machine
does falls on all alike. Processor time counts, which a busy machine stretches less than the
clock. Printed: medians, ratios and bootstrap intervals of the ratios.

    python benchmarks/startup/autoload.py [RUNS]
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import venv
from pathlib import Path

START_UP_FILE = Path(__file__).parents[2] / "plugins" / "atts_lm_eval" / "autoload.pth"
MILLISECONDS = 1000.0
WARM_UP = 5
DRAWS = 1000


def make_environment(root: Path, *, start_up_file: bool) -> Path:
    """The interpreter of a new environment without packages."""
    venv.create(root, with_pip=False, symlinks=True)
    python = root / "bin" / "python"
    if start_up_file:
        (site,) = root.glob("lib/python*/site-packages")
        (site / "atts_harness.pth").write_text(START_UP_FILE.read_text())
    return python


def seconds(python: Path) -> float:
    """Processor time of `python -c pass`, user and system."""
    process = os.posix_spawn(python, [str(python), "-c", "pass"], os.environ)
    _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{python} ended with status {status}")
    return used.ru_utime + used.ru_stime


def main(runs: int = 200) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        pythons = [
            make_environment(Path(folder) / name, start_up_file=name == "with")
            for name in ("without", "again", "with")
        ]
        rounds = [tuple(map(seconds, pythons)) for _ in range(runs + WARM_UP)][WARM_UP:]
    without, _, with_file = map(statistics.median, zip(*rounds, strict=True))
    print(f"rounds                     {runs}")
    print(f"without the file (ms)      {without * MILLISECONDS:.2f}")
    print(f"with the file (ms)         {with_file * MILLISECONDS:.2f}")
    print(f"ratio                      {interval(rounds, 2)}")
    print(f"ratio of two without it    {interval(rounds, 1)}")


def interval(rounds: list[tuple[float, ...]], column: int) -> str:
    """Ratio of medians to the first column, with a 95 % bootstrap interval over rounds."""

    def ratio(sample: list[tuple[float, ...]]) -> float:
        return statistics.median(r[column] for r in sample) / statistics.median(
            r[0] for r in sample
        )

    dice = random.Random(0)
    drawn = sorted(ratio(dice.choices(rounds, k=len(rounds))) for _ in range(DRAWS))
    low, high = drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS)]
    return f"{ratio(rounds):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
