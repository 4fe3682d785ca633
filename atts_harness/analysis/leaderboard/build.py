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
"""The report warns above this share of turns that were never judged."""


@dataclass(frozen=True)
class Report:
    """A leaderboard, and the samples behind its rows by their id."""

    leaderboard: Leaderboard
    samples: Mapping[str, RowSamples]


def report(paths: Iterable[Path], options: Options | None = None) -> Report:
    """The leaderboard of everything at or below some paths.

    An input that cannot be used is listed in `refused` with its reason; no error is raised.

    Args:
        paths: run directories, results files, or folders with any number of both.
        options: of the report.
    """
    options = options or Options()
    inputs, refused = find(paths)
    loaded, unusable = load(inputs, options)
    named = _named(with_timings(loaded))
    tables: list[Table] = []
    rows: list[Row] = []
    samples: dict[str, RowSamples] = {}
    for task in tasks_of(named):
        groups = grouped([entry for entry in named if entry.row.task == task])
        marks = {
            entry.row.id: differs
            for group, _ in groups[1:]
            for entry in group
            if options.force and (differs := _against(entry, groups[0][0]))
        }
        for entry in named:
            if entry.forced and entry.row.task == task:
                marks[entry.row.id] = (*marks.get(entry.row.id, ()), *entry.forced)
        if options.force and len(groups) > 1:
            groups = [([entry for group, _ in groups for entry in group], ())]
        for number, (group, differs) in enumerate(groups, 1):
            group = _complete(group, options.level, marks)
            marks |= {
                entry.row.id: entry.forced for entry in group if entry.row.oracle and entry.forced
            }
            table_id = _slug(task) if number == 1 else f"{_slug(task)}-{number}"
            ids = {entry.row.id for entry in group}
            tables.append(
                Table(
                    id=table_id,
                    task=task,
                    title=_title(group, number, len(groups)),
                    differs=differs,
                    rows=tuple(entry.row.id for entry in group),
                    marks={id_: words for id_, words in marks.items() if id_ in ids},
                    comparisons=comparisons(
                        group,
                        options.level,
                        margin=options.margin,
                        reference=options.reference,
                    ),
                )
            )
            rows += [entry.row for entry in group]
            samples |= {entry.row.id: entry.samples for entry in group if entry.samples is not None}
    return Report(
        Leaderboard(
            harness=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            level=options.level,
            forced=options.force,
            tables=tuple(tables),
            rows=tuple(rows),
            refused=(
                *(RefusedSource(path=str(item.path), reason=item.reason) for item in refused),
                *unusable,
            ),
            warnings=tuple(_warnings(named)),
        ),
        samples,
    )


def grouped(rows: Sequence[LoadedRow]) -> list[tuple[list[LoadedRow], tuple[str, ...]]]:
    """Rows of one task in groups that may stand side by side, the largest first.

    Returns:
        The groups, each with its differences from the first.
    """
    groups: list[list[LoadedRow]] = []
    # Rows that recorded most come first: a row that recorded little agrees with many, and must
    # not bring together two that differ.
    for entry in sorted(rows, key=lambda entry: len(unknown(entry.row.conditions))):
        for group in groups:
            if not any(_between(entry, other) for other in group):
                group.append(entry)
                break
        else:
            groups.append([entry])
    order = {entry.row.id: n for n, entry in enumerate(rows)}
    for group in groups:
        group.sort(key=lambda entry: order[entry.row.id])
    groups.sort(key=lambda group: (-len(group), order[group[0].row.id]))
    return [(group, _against(group[0], groups[0])) for group in groups]


def _between(entry: LoadedRow, other: LoadedRow) -> tuple[str, ...]:
    return differences(entry.row.conditions, other.row.conditions, entry.samples, other.samples)


def _against(entry: LoadedRow, group: Sequence[LoadedRow]) -> tuple[str, ...]:
    """How a row differs from the rows of a group; equal differences are given once."""
    if any(entry is other for other in group):
        return ()
    return tuple(dict.fromkeys(words for other in group for words in _between(entry, other)))


def _complete(
    group: list[LoadedRow], level: float, marks: Mapping[str, tuple[str, ...]]
) -> list[LoadedRow]:
    """A table's rows with oracles and speed-ups, in the order in which they are shown."""
    oracle_rows = oracles(group, level, marks)
    oracle_rows = [
        replace(
            entry, row=msgspec.structs.replace(entry.row, id=f"{_slug(entry.row.task)}-oracle-{n}")
        )
        for n, entry in enumerate(oracle_rows, 1)
    ]
    faster = with_speedups([entry.row for entry in group])
    rows = [replace(entry, row=row) for entry, row in zip(group, faster, strict=True)]
    return [*sorted(rows, key=_rank), *sorted(oracle_rows, key=_rank)]


def _rank(entry: LoadedRow) -> tuple[float, float, str]:
    score = entry.row.accuracy
    tokens = entry.row.tokens.target_computed
    return (-score.value if score else 1.0, tokens if tokens is not None else 0.0, entry.row.label)


def _named(loaded: Sequence[LoadedRow]) -> list[LoadedRow]:
    """Rows with their operating points, labels and ids."""
    named: list[LoadedRow] = []
    same: dict[tuple[str, str, str], list[LoadedRow]] = {}
    for entry in loaded:
        same.setdefault((entry.row.task, entry.row.strategy, entry.row.pair.name), []).append(entry)
    points = {
        id(entry): _point(entry.row, [o.row for o in alike_rows])
        for alike_rows in same.values()
        for entry in alike_rows
    }
    labels = {id(entry): _label(entry.row, points[id(entry)]) for entry in loaded}
    used: Counter[tuple[str, str]] = Counter()
    for entry in loaded:
        row, label = entry.row, labels[id(entry)]
        alike = [o for o in same[row.task, row.strategy, row.pair.name] if labels[id(o)] == label]
        if len(alike) > 1:
            label = f"{label} [{_apart(row, [o.row for o in alike])}]"
        stem = f"{_slug(row.task)}-{_slug(label)}"
        used[row.task, stem] += 1
        count = used[row.task, stem]
        id_ = stem if count == 1 else f"{stem}-{count}"
        row = msgspec.structs.replace(row, id=id_, label=label, point=points[id(entry)])
        if lacking := unknown(row.conditions):
            note = f"not recorded, so not compared: {', '.join(lacking)}"
            row = msgspec.structs.replace(row, notes=(*row.notes, note))
        named.append(replace(entry, row=row))
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
    """The strategy and its operating point; always with the rate and what a takeover does."""
    options = {name: value for name, value in point.items() if value is not None}
    if row.takeover is not None and row.takeover.nominal is not None and "rate" not in options:
        options = {"rate": round(row.takeover.nominal, 4), **options}
    words = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in options.items()
        if name != "on_reject"
    ]
    if row.vote is not None and "inner" not in options and "inner" in row.options:
        words.insert(0, f"inner={row.options['inner']}")
    if "on_reject" in row.options and row.strategy != "draft-only":
        words.append(str(row.options["on_reject"]))
    if MODEL in row.conditions.sampling:
        words.append(row.pair.name)
    return f"{row.strategy} {' '.join(words)}".strip()


def _apart(row: Row, alike: Sequence[Row]) -> str:
    """A name for a row among rows with equal options: its seed, else its place."""
    if len({other.source.seed for other in alike}) == len(alike):
        return f"seed {row.source.seed}"
    place = row.source.run_dir or row.source.results or ""
    others = [Path(o.source.run_dir or o.source.results or "").parts for o in alike]
    parts = Path(place).parts
    distinct = [p for n, p in enumerate(parts) if any(len(o) <= n or o[n] != p for o in others)]
    return "/".join(distinct) or place


def _title(group: Sequence[LoadedRow], number: int, count: int) -> str:
    first = group[0].row
    budgets = {entry.row.conditions.budget for entry in group} - {None}
    repeats = sorted({entry.row.repeats for entry in group})
    problems = sorted({entry.row.problems for entry in group})
    parts = [
        f"{'/'.join(map(str, problems))} problems x {'/'.join(map(str, repeats))}",
    ]
    if len(budgets) == 1:
        parts.append(f"budget {budgets.pop()}")
    temperatures = {
        sampling["temperature"]
        for entry in group
        for sampling in entry.row.conditions.sampling.values()
        if sampling.get("temperature") is not None
    }
    if len(temperatures) == 1:
        parts.append(f"temperature {temperatures.pop():g}")
    if first.conditions.version is not None:
        parts.append(f"version {first.conditions.version}")
    table = f" (table {number} of {count})" if count > 1 else ""
    return f"{first.task}{table}: {', '.join(parts)}"


def _warnings(rows: Sequence[LoadedRow]) -> Iterator[str]:
    seeds = {entry.row.source.seed for entry in rows if entry.row.source.seed is not None}
    if len(seeds) > 1:
        numbers = ", ".join(map(str, sorted(seeds)))
        yield f"runs have different seeds ({numbers}): repeats are paired by number, not by seed"
    for entry in rows:
        takeover = entry.row.takeover
        if takeover is not None and (takeover.unjudged or 0.0) > MOST_UNJUDGED:
            yield f"{entry.row.label}: {unjudged_in_words(takeover.apart, takeover.decided)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
