"""`atts compare --dry-run`: the cells, and what they would cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.table import Table

from atts_harness import plugins, terminal
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.local import LocalLauncher
from atts_harness.comparing.needs import needs_of
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.probe import Probe, probe_all
from atts_harness.comparing.rounds import first_repeats, promise
from atts_harness.comparing.show import NameColumns, Show
from atts_harness.comparing.sizes import Size, sizes_of
from atts_harness.framework import EvalFramework
from atts_harness.running.progress import clock

Simulate = Callable[[Plan, Sequence[Cell], Mapping[str, Size]], Sequence[Table | str]]
"""Simulates what cells would take; gives tables and lines."""
Planned = Callable[[str, Plan, Sequence[Cell], Mapping[str, Size]], Sequence[Table | str]]
"""`Simulate` with the GPUs as its first argument, as NAME:COUNT."""


def dry_run(
    plan: Plan,
    cells: Sequence[Cell],
    folder: Path,
    framework: EvalFramework,
    *,
    probe: bool,
    states: Mapping[str, str] | None = None,
    simulate: Simulate | None = None,
) -> None:
    """Show the cells in the order in which they would run; runs none of them.

    Args:
        plan: what holds for every cell.
        cells: in that order.
        folder: the comparison's; takes the logs of servers that a probe starts.
        framework: knows the tasks.
        probe: run two samples of each strategy, and say what time and tokens follow.
        states: by the cells' names, if some were started before.
        simulate: says what the cells would take in simulated time.

    Raises:
        AttsError: a task's data is not there, or a probe fails.
    """
    show = Show(len(cells))
    sizes = sizes_of(cells, plan, framework)
    probes = {}
    launcher = plugins.launcher(plan.launcher_name)
    if not isinstance(launcher, LocalLauncher):
        launcher.begin(folder, needs_of(cells, plan), show.say, plan.address)
        if state := launcher.state():
            show.say(state)
        launcher.end()
        if probe:
            show.say("no probe: its samples would run on this machine, and the cells run elsewhere")
    elif probe:
        probes = probe_all(cells, plan, folder, framework, launcher, show.say)
    table = _table(plan, cells, sizes, probes, states or {})
    if states:
        count = sum(states.get(cell.name) == "done" for cell in cells)
        show.say(f"{count} of {len(cells)} cells are done and do not run again; sums are of all")
    show.console.print(table)
    for line in [*_notes(cells, sizes, probes), *_rounds(plan, cells, sizes)]:
        show.say(line)
    if simulate is not None:
        show.say(f"simulating {len(cells)} cells: some seconds each")
        for part in simulate(plan, cells, sizes):
            if isinstance(part, Table):
                show.console.print(terminal.FittedTable(part))
            else:
                show.say(part)
    elif not probes:
        show.say("time: --gpus h100:3 simulates it, --probe asks the engines")


def _table(
    plan: Plan,
    cells: Sequence[Cell],
    sizes: dict[str, Size],
    probes: dict[str, Probe],
    states: Mapping[str, str],
) -> terminal.FittedTable:
    names = NameColumns([cell.name for cell in cells])
    table = names.table(f"{plan.name}: {len(cells)} cells")
    columns = ["problems", "requests", "tokens at most"]
    columns += ["calls", "target tokens", "draft tokens", "time"] if probes else []
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    if states:
        table.add_column("state")
    for cell in cells:
        size = sizes[cell.name]
        row = names.row(cell.name)
        calibration = f" (+{size.calibration:,})" if size.calibration else ""
        row += [f"{size.problems:,}", f"{size.samples:,}{calibration}", f"{size.most_tokens:,}"]
        if probe := probes.get(cell.name):
            row += _expected(probe, size.samples + size.calibration)
        row += [states.get(cell.name, "pending")] if states else []
        table.add_row(*row)
    return terminal.FittedTable(table, names=len(names.columns))


def _expected(probe: Probe, samples: int) -> list[str]:
    least, most = probe.expected(samples)
    return [
        f"{probe.calls * samples / probe.samples:,.0f}",
        f"{probe.tokens['target_computed'] * samples:,.0f}",
        f"{probe.tokens['draft_computed'] * samples:,.0f}",
        f"{clock(least)} to {clock(most)}",
    ]


def _notes(cells: Sequence[Cell], sizes: dict[str, Size], probes: dict[str, Probe]) -> list[str]:
    samples = sum(size.samples for size in sizes.values())
    tokens = sum(size.most_tokens for size in sizes.values())
    lines = [f"{len(cells)} cells, {samples:,} requests, {tokens:,} tokens at most"]
    if any(size.calibration for size in sizes.values()):
        lines.append("(+n): samples of the calibration before a cell, unless another one made it")
    if probes:
        bounds = [
            probes[c.name].expected(sizes[c.name].samples + sizes[c.name].calibration)
            for c in cells
        ]
        least, most = (clock(sum(bound[end] for bound in bounds)) for end in (0, 1))
        lines += [
            f"time from two samples a strategy: {least} to {most}, and the start of a process "
            "for each cell",
            "the first if the engines keep their pace with every slot in use, the second if they "
            "gain nothing from more than two samples at once; tokens are computed ones",
        ]
    return lines


def _rounds(plan: Plan, cells: Sequence[Cell], sizes: dict[str, Size]) -> list[str]:
    """What `until` adds to the first round, and what it cannot reach, by task."""
    until = plan.until
    if until is None:
        return []
    most = 0
    lines: dict[str, None] = {}
    for cell in cells:
        size, first = sizes[cell.name], first_repeats(cell)
        most += size.samples * max(until.cap, first) // first
        lines[f"{cell.task_name}: {promise(until, size.problems, first)}"] = None
    return [f"requests above are those of the first round; at the cap they are {most:,}", *lines]
