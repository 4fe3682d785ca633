"""Seeded mutations of every format of files: no error of others, no other number without a word.

Columns: files read; refused with an error of ours; read as the sound file; read as something else
with a warning, and without one (possible only where a format has no checksum and the mutated file
says so); faults; processor seconds of the slowest file. The process may take 4 GiB of memory.

    python -m benchmarks.robustness.mutations [--files 2000] [--only FORMAT] [--seed 0]
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.robustness.check import check
from benchmarks.robustness.formats import FORMATS

MEMORY = 4 << 30
MOST_SHOWN = 8


def main() -> None:
    """Check every format; exit status 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.getLogger("atts_harness").propagate = False
    faults = 0
    print(f"{'format':32} {'files':>6} {'refused':>8} {'same':>6} {'warned':>6} {'other':>6} "
          f"{'faults':>7} {'slowest':>8}")  # fmt: skip
    for format_ in FORMATS:
        if args.only not in format_.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(args.seed, args.seed + args.files)
            outcome = check(format_, Path(folder) / "f", seeds)
        print(
            f"{format_.name:32} {args.files:6} {outcome.refused:8} {outcome.same:6} "
            f"{outcome.warned:6} {outcome.other:6} {len(outcome.faults):7} {outcome.slowest:8.2f}",
            flush=True,
        )
        for fault in outcome.faults[:MOST_SHOWN]:
            print(f"    {fault}")
        faults += len(outcome.faults)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
