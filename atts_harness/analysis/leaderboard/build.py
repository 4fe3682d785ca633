"""The leaderboard of some runs: rows that may stand side by side, named and compared."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness._version import __version__
from atts_harness.analysis.leaderboard.comparisons import comparisons
from atts_harness.analysis.leaderboard.conditions import MODEL, differences, unknown
from atts_harness.analysis.leaderboard.loading import LoadedRow, load, tasks_of
from atts_harness.analysis.leaderboard.oracle import oracles
from atts_harness.analysis.leaderboard.references import with_speedups
from atts_harness.analysis.leaderboard.rows import Leaderboard, RefusedSource, Row, Table
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.leaderboard.sources import Options
from atts_harness.analysis.leaderboard.timings import with_timings
from atts_harness.ledger.statistics import unjudged_in_words
from atts_harness.results.find import find

MOST_UNJUDGED = 0.05
"""Share of turns that nobody judged, above which the report itself warns."""


@dataclass(frozen=True)
class Report:
    """A leaderboard, and the samples behind its rows by their id."""

    leaderboard: Leaderboard
    samples: Mapping[str, RowSamples]


def report(paths: Iterable[Path], options: Options | None = None) -> Report:
    """The leaderboard of everything at or below some paths.

    What cannot be used stands in `refused` with its reason; nothing is raised for it.

    Args:
        paths: run directories, results files, or folders with any number of both.
        options: how it is made.
    """
    options = options or Options()
    found, refused = find(paths)
    loaded, more = load(found, options)
    named = _named(with_timings(loaded))
    tables: list[Table] = []
    rows: list[Row] = []
    entries: dict[str, RowSamples] = {}
    for task in tasks_of(named):
        groups = grouped([one for one in named if one.row.task == task])
        marks = {
            one.row.id: differs
            for group, _ in groups[1:]
            for one in group
            if options.force and (differs := _against(one, groups[0][0]))
        }
        for one in named:
            if one.forced and one.row.task == task:
                marks[one.row.id] = (*marks.get(one.row.id, ()), *one.forced)
        if options.force and len(groups) > 1:
            groups = [([one for group, _ in groups for one in group], ())]
        for number, (group, differs) in enumerate(groups, 1):
            group = _complete(group, options.level, marks)
            marks |= {one.row.id: one.forced for one in group if one.row.oracle and one.forced}
            table_id = _slug(task) if number == 1 else f"{_slug(task)}-{number}"
            ids = {one.row.id for one in group}
            tables.append(
                Table(
                    id=table_id,
                    task=task,
                    title=_title(group, number, len(groups)),
                    differs=differs,
                    rows=tuple(one.row.id for one in group),
                    marks={id_: words for id_, words in marks.items() if id_ in ids},
                    comparisons=comparisons(
                        group,
                        options.level,
                        margin=options.margin,
                        reference=options.reference,
                    ),
                )
            )
            rows += [one.row for one in group]
            entries |= {one.row.id: one.samples for one in group if one.samples is not None}
    return Report(
        Leaderboard(
            harness=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            level=options.level,
            forced=options.force,
            tables=tuple(tables),
            rows=tuple(rows),
            refused=(
                *(RefusedSource(path=str(one.path), reason=one.reason) for one in refused),
                *more,
            ),
            warnings=tuple(_warnings(named)),
        ),
        entries,
    )


def grouped(rows: Sequence[LoadedRow]) -> list[tuple[list[LoadedRow], tuple[str, ...]]]:
    """Rows of one task in groups that may stand side by side, the largest first.

    Returns:
        Each group with what tells it from the first.
    """
    groups: list[list[LoadedRow]] = []
    # Rows that recorded most come first: one that recorded little must not bring two together.
    for one in sorted(rows, key=lambda one: len(unknown(one.row.conditions))):
        for group in groups:
            if not any(_between(one, other) for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    order = {one.row.id: n for n, one in enumerate(rows)}
    for group in groups:
        group.sort(key=lambda one: order[one.row.id])
    groups.sort(key=lambda group: (-len(group), order[group[0].row.id]))
    return [(group, _against(group[0], groups[0])) for group in groups]


def _between(one: LoadedRow, other: LoadedRow) -> tuple[str, ...]:
    return differences(one.row.conditions, other.row.conditions, one.samples, other.samples)


def _against(one: LoadedRow, group: Sequence[LoadedRow]) -> tuple[str, ...]:
    """What tells a row from a group; the same difference from several rows is one."""
    if any(one is other for other in group):
        return ()
    return tuple(dict.fromkeys(words for other in group for words in _between(one, other)))


def _complete(
    group: list[LoadedRow], level: float, marks: Mapping[str, tuple[str, ...]]
) -> list[LoadedRow]:
    """A table's rows with oracles and speed-ups, in the order in which they are shown."""
    made = oracles(group, level, marks)
    made = [
        replace(one, row=msgspec.structs.replace(one.row, id=f"{_slug(one.row.task)}-oracle-{n}"))
        for n, one in enumerate(made, 1)
    ]
    faster = with_speedups([one.row for one in group])
    rows = [replace(one, row=row) for one, row in zip(group, faster, strict=True)]
    return [*sorted(rows, key=_rank), *sorted(made, key=_rank)]


def _rank(one: LoadedRow) -> tuple[float, float, str]:
    score = one.row.accuracy
    tokens = one.row.tokens.target_computed
    return (-score.value if score else 1.0, tokens if tokens is not None else 0.0, one.row.label)


def _named(loaded: Sequence[LoadedRow]) -> list[LoadedRow]:
    """Rows with their operating points, labels and ids."""
    named: list[LoadedRow] = []
    same: dict[tuple[str, str, str], list[LoadedRow]] = {}
    for one in loaded:
        same.setdefault((one.row.task, one.row.strategy, one.row.pair.name), []).append(one)
    points = {
        id(one): _point(one.row, [o.row for o in own]) for own in same.values() for one in own
    }
    labels = {id(one): _label(one.row, points[id(one)]) for one in loaded}
    used: Counter[tuple[str, str]] = Counter()
    for one in loaded:
        row, label = one.row, labels[id(one)]
        alike = [o for o in same[row.task, row.strategy, row.pair.name] if labels[id(o)] == label]
        if len(alike) > 1:
            label = f"{label} [{_apart(row, [o.row for o in alike])}]"
        stem = f"{_slug(row.task)}-{_slug(label)}"
        used[row.task, stem] += 1
        count = used[row.task, stem]
        id_ = stem if count == 1 else f"{stem}-{count}"
        row = msgspec.structs.replace(row, id=id_, label=label, point=points[id(one)])
        if lacking := unknown(row.conditions):
            said = f"not recorded, so not compared: {', '.join(lacking)}"
            row = msgspec.structs.replace(row, notes=(*row.notes, said))
        named.append(replace(one, row=row))
    return named


def _point(row: Row, same: Sequence[Row]) -> dict[str, Any]:
    """The options in which rows of one strategy and pair differ."""
    names = list(dict.fromkeys(name for other in same for name in other.options))
    return {
        name: row.options.get(name)
        for name in names
        if len({repr(other.options.get(name)) for other in same}) > 1
    }


def _label(row: Row, point: Mapping[str, Any]) -> str:
    """The strategy at its point; the rate and what a takeover does are always told."""
    shown = {name: value for name, value in point.items() if value is not None}
    if row.takeover is not None and row.takeover.nominal is not None and "rate" not in shown:
        shown = {"rate": round(row.takeover.nominal, 4), **shown}
    words = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in shown.items()
        if name != "on_reject"
    ]
    if row.vote is not None and "inner" not in shown and "inner" in row.options:
        words.insert(0, f"inner={row.options['inner']}")
    if "on_reject" in row.options and row.strategy != "draft-only":
        words.append(str(row.options["on_reject"]))
    if MODEL in row.conditions.sampling:
        words.append(row.pair.name)
    return f"{row.strategy} {' '.join(words)}".strip()


def _apart(row: Row, alike: Sequence[Row]) -> str:
    """What tells rows apart whose options agree: the seed, else where they lie."""
    if len({other.source.seed for other in alike}) == len(alike):
        return f"seed {row.source.seed}"
    place = row.source.run_dir or row.source.results or ""
    others = [Path(o.source.run_dir or o.source.results or "").parts for o in alike]
    parts = Path(place).parts
    own = [p for n, p in enumerate(parts) if any(len(o) <= n or o[n] != p for o in others)]
    return "/".join(own) or place


def _title(group: Sequence[LoadedRow], number: int, count: int) -> str:
    first = group[0].row
    budgets = {one.row.conditions.budget for one in group} - {None}
    repeats = sorted({one.row.repeats for one in group})
    problems = sorted({one.row.problems for one in group})
    parts = [
        f"{'/'.join(map(str, problems))} problems x {'/'.join(map(str, repeats))}",
    ]
    if len(budgets) == 1:
        parts.append(f"budget {budgets.pop()}")
    temperatures = {
        own["temperature"]
        for one in group
        for own in one.row.conditions.sampling.values()
        if own.get("temperature") is not None
    }
    if len(temperatures) == 1:
        parts.append(f"temperature {temperatures.pop():g}")
    if first.conditions.version is not None:
        parts.append(f"version {first.conditions.version}")
    table = f" (table {number} of {count})" if count > 1 else ""
    return f"{first.task}{table}: {', '.join(parts)}"


def _warnings(rows: Sequence[LoadedRow]) -> Iterator[str]:
    seeds = {one.row.source.seed for one in rows if one.row.source.seed is not None}
    if len(seeds) > 1:
        shown = ", ".join(map(str, sorted(seeds)))
        yield f"runs have different seeds ({shown}): repeats are paired by number, not by seed"
    for one in rows:
        found = one.row.takeover
        if found is not None and (found.unjudged or 0.0) > MOST_UNJUDGED:
            yield f"{one.row.label}: {unjudged_in_words(found.apart, found.decided)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
