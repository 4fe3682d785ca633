"""`python -m benchmarks.conformal`: every script of this folder with `--draw`, one by one."""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = (
    "exchangeable",
    "clustered",
    "splits",
    "modes",
    "adaptive",
    "drift",
    "turns",
    "decision_cost",
)


def main() -> None:
    """Draw all; the first that fails ends it."""
    for name in SCRIPTS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.conformal.{name}", "--draw"], check=True)


main()  # no guard: `python -m benchmarks` takes scripts with one, and these it takes one by one
