"""Runs two samples of each strategy on the plan's backends, to estimate time and tokens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atts_harness.comparing.cells import Cell
from atts_harness.comparing.local import LocalLauncher
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.servers import POLL_SECONDS, Servers
from atts_harness.framework import EvalFramework, ProbeFigures
from atts_harness.launcher import Needs

SAMPLES = 2
# A probe has no bank and no other cell's rate to take; it ranks as a calibration run does.
WITHOUT_BANK = {
    "calibration": "online",
    "coverage": "turn",
    "control": "fixed",
    "rule": "pvalue",
    "pvalue": "pooled",
}


@dataclass(frozen=True)
class Probe:
    """What two samples took.

    Attributes:
        samples: how many there were.
        opening: seconds until the models were there.
        seconds: from the first sample's start to the last one's end.
        longest: seconds of the longest sample.
        busy: by lane its slots, and the seconds for which they were held.
        calls: calls of any kind.
        tokens: mean tokens a sample, as in a run's statistics.
    """

    samples: int
    opening: float
    seconds: float
    longest: float
    busy: Mapping[str, tuple[int, float]]
    calls: int
    tokens: Mapping[str, float]

    def expected(self, samples: int) -> tuple[float, float]:
        """Seconds that so many samples may take, between two bounds.

        The first holds if the engines keep the probe's pace with every slot in use, the second if
        they gain nothing from more than two samples at once. Which is nearer depends on how well
        an engine batches, which two samples cannot show.
        """
        share = samples / self.samples
        work = [seconds * share / slots for slots, seconds in self.busy.values() if slots]
        least = max([self.longest, *work])
        return self.opening + least, self.opening + max(least, self.seconds * share)


def probe_all(
    cells: Sequence[Cell],
    plan: Plan,
    folder: Path,
    framework: EvalFramework,
    launcher: LocalLauncher,
    say: Callable[[str], None],
) -> dict[str, Probe]:
    """A probe for each cell, by name; cells that differ only in their operating point share one.

    Servers of a pair are started for it, and stopped.

    Raises:
        AttsError: a strategy cannot run; the first to fail.
    """
    probes: dict[str, Probe] = {}
    for pair in dict.fromkeys(cell.pair for cell in cells):
        mine = [cell for cell in cells if cell.pair == pair]
        place = launcher.place(Needs(pair))
        assert place is not None  # this machine has one, and it was given back
        servers = Servers(mine, folder / "servers" / pair, place, say)
        by_entry: dict[Any, Probe] = {}
        try:
            for cell in mine:
                key = (cell.task_name, cell.place)
                if key not in by_entry:
                    say(f"{cell.name}: two samples")
                    while not servers.ready():
                        time.sleep(POLL_SECONDS)
                    by_entry[key] = _probe(cell, cells, plan, framework, servers)
                probes[cell.name] = by_entry[key]
        finally:
            servers.stop()
            place.give_back()
    return probes


def _probe(
    cell: Cell, cells: Sequence[Cell], plan: Plan, framework: EvalFramework, servers: Servers
) -> Probe:
    further: dict[str, Any] = {**servers.settings(cell.kind.roles), "progress": "off"}
    if cell.calibrate is not None:
        further |= WITHOUT_BANK
    if cell.needs is not None:
        other = next(c for c in cells if c.name == cell.needs)
        if "rate" in other.settings:
            further["rate"] = other.settings["rate"]
    problems = min(SAMPLES, cell.task.limit or SAMPLES)
    evaluation = dataclasses.replace(cell.evaluation(plan, further), limit=problems)
    return _from_figures(framework.probe(evaluation, SAMPLES // problems))


def _from_figures(figures: ProbeFigures) -> Probe:
    ledger, statistics = figures.ledger, list(figures.statistics.values())
    samples = sum(task["samples"] for task in statistics)
    names = statistics[0]["tokens_per_sample"]
    return Probe(
        samples=samples,
        opening=figures.opening,
        seconds=float(ledger["seconds"]),
        longest=float(ledger["sample_latency"]["max"]),
        busy={n: (int(u["bound"]), float(u["busy_seconds"])) for n, u in ledger["slots"].items()},
        calls=sum(account["calls"] for account in ledger["calls"].values()),
        tokens={
            name: sum(t["tokens_per_sample"][name] * t["samples"] for t in statistics) / samples
            for name in names
        },
    )
