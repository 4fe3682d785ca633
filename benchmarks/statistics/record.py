"""What the simulations found, kept in build/ so that the page can be written without them.

    nice -n 15 python -m benchmarks.statistics.record [PART...]

Parts are differences, gate, shares, families and stopping; each is written when it is done.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.statistics import differences, families, gate, shares, stopping

FOLDER = Path(__file__).parents[2] / "build" / "benchmark-statistics"


def _differences() -> dict[str, Any]:
    cells = differences.cells()
    limits = [asdict(one) for one in differences.limits(cells)]
    return {"cells": [asdict(one) for one in cells], "limits": limits}


def _gate() -> dict[str, Any]:
    cells = gate.cells()
    anew = [
        {"cell": asdict(cell), "loss": loss, "share": share}
        for cell, loss, share in gate.again(cells, gate.CASES)
    ]
    return {"cells": [asdict(one) for one in cells], "again": anew}


def _shares() -> dict[str, Any]:
    return {"cells": [asdict(one) for one in shares.cells()], "aucs": shares.aucs()}


PARTS: dict[str, Callable[[], Any]] = {
    "differences": _differences,
    "gate": _gate,
    "shares": _shares,
    "families": families.rows,
    "stopping": stopping.rows,
}


def recorded(part: str, *, anew: bool = False) -> Any:
    """What a part found: as recorded, or simulated and recorded now."""
    path = FOLDER / f"{part}.json"
    if anew or not path.exists():
        began = time.process_time()
        figures = PARTS[part]()
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures), encoding="utf-8")
        print(f"{part}: {time.process_time() - began:.0f} s of CPU", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Simulate the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    for part in parser.parse_args().parts or PARTS:
        recorded(part, anew=True)


if __name__ == "__main__":
    main()
