"""`atts compare reviewers-2026-embedded` as a user runs it: its tables, and what it took."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec

PLAN = "reviewers-2026-embedded"
TABLES = ("Accuracy", "Cost a sample, in tokens")
"""Tables of its report that the page shows."""


class Spent(msgspec.Struct):
    """What the sessions of a comparison took, in seconds.

    Attributes:
        wall: from start to end.
        processor: of it and all its cells, user and system.
        cells: cells that it ran.
    """

    wall: float = 0.0
    processor: float = 0.0
    cells: int = 0


def compared(folder: Path) -> str:
    """Run the plan in a folder, or what is missing of it; Markdown.

    Raises:
        CalledProcessError: a cell failed.
    """
    account = folder.with_suffix(".json")
    spent = msgspec.json.decode(account.read_bytes(), type=Spent) if account.exists() else Spent()
    command = [sys.executable, "-m", "atts_harness", "compare", PLAN, "--out", str(folder)]
    before, began = _processor(), time.monotonic()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ran = output.count(": done, ")
    if ran:  # a comparison that is done is only read again
        spent.wall += time.monotonic() - began
        spent.processor += _processor() - before
        spent.cells += ran
        account.write_bytes(msgspec.json.encode(spent))
    report = (folder / "report" / "leaderboard.md").read_text()
    headline = report.split("\n## ", 1)[1].partition("\n")[0].replace("\\_", "_")
    parts = [
        f"## By `atts compare {PLAN}`",
        f"{spent.cells} cells, each a process of its own: {spent.processor / 60:.1f} minutes of "
        f"processor time and {spent.wall / 60:.0f} minutes by the clock, one cell at a time beside "
        f"other work on the machine. {headline}. Under a vote accuracy and tokens are a problem's.",
        *(_table(report, name) for name in TABLES),
    ]
    return "\n\n".join(parts)


def _table(report: str, name: str) -> str:
    """A table of the report, without the rows of what no strategy can do."""
    table = report.split(f"**{name}**\n\n", 1)[1].partition("\n\n")[0]
    return "\n".join(line for line in table.splitlines() if "†" not in line)


def _processor() -> float:
    """Seconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
