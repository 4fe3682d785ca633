"""What starting a cell costs: lm-eval's stock command, which reads its own task files, and ours.

Both run one problem of a task of ours on the embedded pair, in turn, so that whatever else the
machine does falls on both alike. Processor time counts, which a busy machine stretches less than
the clock. Printed: the pairs, and the median of their differences and ratios.

    python benchmarks/startup/cell.py [PAIRS]
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

RUN = [
    *("--model", "draft-only", "--tasks", "atts_chain", "--apply_chat_template"),
    *("--limit", "1", "--metadata", '{"repeats": 1}', "--model_args", "progress=off"),
]
COMMANDS = {
    "lm_eval": [sys.executable, "-m", "lm_eval", "run", *RUN],
    "atts lm-eval": [sys.executable, "-m", "atts_harness", "lm-eval", "run", *RUN],
}


def seconds(command: list[str]) -> float:
    """Processor time of a command, user and system."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return used.ru_utime + used.ru_stime


def main(pairs: int = 5) -> None:
    """Measure and print."""
    print(f"seconds of processor time; load before: {os.getloadavg()[0]:.1f}")
    rounds = []
    for _ in range(pairs):
        rounds.append([seconds(command) for command in COMMANDS.values()])
        print("  ".join(f"{name} {s:.2f}" for name, s in zip(COMMANDS, rounds[-1], strict=True)))
    saved = statistics.median(stock - ours for stock, ours in rounds)
    ratio = statistics.median(ours / stock for stock, ours in rounds)
    print(f"median of {pairs}: {saved:.2f} s less, ratio {ratio:.2f}")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    main(*map(int, sys.argv[1:]))
