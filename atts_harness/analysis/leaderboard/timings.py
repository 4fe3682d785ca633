"""Merges repeated measurements of time: one row with a range instead of several rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import msgspec

from atts_harness.analysis.leaderboard.loading import LoadedRow
from atts_harness.analysis.leaderboard.rows import Row
from atts_harness.analysis.leaderboard.spent import Range


def with_timings(loaded: Sequence[LoadedRow]) -> list[LoadedRow]:
    """Merge repeated runs that only measured times into the row that they repeat.

    A repeat whose row is not there stays a row.

    Args:
        loaded: rows, with `times_of` set for repeats.
    """
    bases = {
        key: entry
        for entry in loaded
        if entry.times_of is None and (key := _key(entry)) is not None
    }
    again: dict[tuple[Path, str], list[LoadedRow]] = {}
    for entry in loaded:
        if entry.times_of is not None and (entry.times_of, entry.row.task) in bases:
            again.setdefault((entry.times_of, entry.row.task), []).append(entry)
    merged = {id(entry) for repeats in again.values() for entry in repeats}
    rows = []
    for entry in loaded:
        if id(entry) in merged:
            continue
        key = _key(entry)
        repeats = again.get(key, []) if key is not None else []
        rows.append(replace(entry, row=timed(entry.row, [other.row for other in repeats])))
    return rows


def timed(row: Row, again: Sequence[Row]) -> Row:
    """A row whose makespan is the median of all its times, with their range.

    Times of another number of samples, as of an unfinished repeat, do not count.
    """
    makespans = [
        other.speed.makespan
        for other in (row, *again)
        if other.speed.makespan and other.samples == row.samples
    ]
    if len(makespans) < 2:
        return row
    middle = median(makespans)
    speed = msgspec.structs.replace(
        row.speed,
        makespan=middle,
        samples_per_second=row.samples / middle,
        measured=len(makespans),
        makespan_range=Range(low=min(makespans), high=max(makespans)),
    )
    return msgspec.structs.replace(row, speed=speed)


def _key(entry: LoadedRow) -> tuple[Path, str] | None:
    place = entry.row.source.run_dir
    return None if place is None else (Path(place).resolve(), entry.row.task)
