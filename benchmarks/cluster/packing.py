"""How well a comparison on a Ray cluster uses its engine sets: its time over the packing bound.

Several nodes on this machine, GPUs as declared resources, one engine set on each; cells are mock
runs whose time is that of a mock engine. The bound is what no schedule can be below: the cells'
own durations over the sets, or the longest cell. All of it is of one run.

    .venv-ray/bin/python -m benchmarks.cluster.packing [--cells 40] [--sets 4] [--seconds 1.5]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ATTS = Path(sys.executable).with_name("atts")
STORE = 80 << 20


def plan(cells: int, seconds: float) -> str:
    """Cells of one pair that ask the same questions, with uneven lengths."""
    turns = [2 + number % 5 for number in range(cells)]
    rows = "\n".join(
        f"  - {{strategy: mock-turns, name: row{number}, settings: {{turns: {count}, ending: 0}}}}"
        for number, count in enumerate(turns)
    )
    return f"""\
name: packing
out: runs/packing
report: false
framework: mock
tasks: mock
limit: 4
repeats: 2
pairs: {{inside: {{backend: mock, draft: d, target: t, mock_seconds: {seconds}, live_samples: 4}}}}
strategies:
{rows}
"""


def measured(folder: Path, sets: int) -> dict[str, float]:
    """What a run took, and the bound."""
    status = json.loads((folder / "runs/packing/compare.json").read_text())
    cells = status["cells"]
    assert all(cell["state"] == "done" for cell in cells), "a cell is not done"
    begun = min(datetime.datetime.fromisoformat(cell["started_at"]) for cell in cells).timestamp()
    ended = max(
        (folder / "runs/packing" / cell["folder"] / "cell.json").stat().st_mtime for cell in cells
    )
    durations = [cell["seconds"] for cell in cells]
    bound = max(max(durations), sum(durations) / sets)
    machines = {cell["machine"] for cell in cells}
    return {
        "cells": len(cells),
        "nodes": len(machines),
        "seconds": ended - begun,
        "bound": bound,
        "longest": max(durations),
        "shortest": min(durations),
        "ratio": (ended - begun) / bound,
    }


def main() -> None:
    """Run it, and print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--sets", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a request to the engine")
    args = parser.parse_args()
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    # Nodes on a busy machine: slow ones are not dead, and full memory is not of this run.
    head["_system_config"] = {"health_check_timeout_ms": 60000, "memory_monitor_refresh_ms": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(args.sets):
            cluster.add_node(wait=False, num_cpus=1, num_gpus=1, object_store_memory=STORE)
        cluster.wait_for_nodes(600)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "plan.yaml").write_text(plan(args.cells, args.seconds))
            command = [str(ATTS), "compare", "plan.yaml", "--ray", cluster.address]
            subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
            figures = measured(Path(folder), args.sets)
    finally:
        cluster.shutdown()
    figures["load"] = os.getloadavg()[1]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
