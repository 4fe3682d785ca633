"""Does the start-up file cost anything? `python -c pass` with and without it, in one run.

Two bare virtual environments that differ in the `.pth` file only; the runs alternate, so that
whatever else the machine does falls on both alike. Printed: medians, their ratio and a bootstrap
interval of the ratio.

    python benchmarks/startup/autoload.py [RUNS]
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

START_UP_FILE = Path(__file__).parents[2] / "plugins" / "atts_lm_eval" / "autoload.pth"
MILLISECONDS = 1000.0


def make_environment(root: Path, *, start_up_file: bool) -> Path:
    """The interpreter of a new environment without packages."""
    venv.create(root, with_pip=False, symlinks=True)
    python = root / "bin" / "python"
    if start_up_file:
        (site,) = root.glob("lib/python*/site-packages")
        (site / "atts_harness.pth").write_text(START_UP_FILE.read_text())
    return python


def seconds(python: Path) -> float:
    """Wall time of `python -c pass`."""
    begin = time.perf_counter()
    subprocess.run([python, "-c", "pass"], check=True)
    return time.perf_counter() - begin


def main(runs: int = 200) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        without = make_environment(Path(folder) / "without", start_up_file=False)
        with_file = make_environment(Path(folder) / "with", start_up_file=True)
        pairs = [(seconds(without), seconds(with_file)) for _ in range(runs + 5)][5:]

    def ratio(sample: list[tuple[float, float]]) -> float:
        return statistics.median(b for _, b in sample) / statistics.median(a for a, _ in sample)

    dice = random.Random(0)
    ratios = sorted(ratio(dice.choices(pairs, k=len(pairs))) for _ in range(1000))
    plain, loaded = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"runs each                {runs}")
    print(f"without the file (ms)    {plain * MILLISECONDS:.2f}")
    print(f"with the file (ms)       {loaded * MILLISECONDS:.2f}")
    print(f"ratio                    {ratio(pairs):.3f} [{ratios[25]:.3f}, {ratios[974]:.3f}]")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
