"""The realised takeover rate of another run, task by task."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.journal import schema

JUDGED = ("p-value", "policy")


class _Takeover(msgspec.Struct):
    realised_rate: float | None = None


class _Statistics(msgspec.Struct):
    takeover: _Takeover


class _Run(msgspec.Struct):
    statistics: dict[str, _Statistics]


class _Config(msgspec.Struct):
    atts: _Run


class _Results(msgspec.Struct):
    config: _Config


def realised_rates(path: str) -> dict[str, float]:
    """Takeovers among the turns that were judged, in [0, 1], by task.

    Turns that went to the target without being judged (a failed score, an empty draft) are left
    out, as everywhere.

    Args:
        path: a run directory, or the results JSON that lm-eval wrote of a run.

    Raises:
        SettingError: nothing of the kind stands there, or the run judged no turn.
    """
    place = Path(path)
    if (place / schema.JOURNAL).is_file():
        rates = _of_journal(place / schema.JOURNAL)
    elif place.is_file():
        rates = _of_results(place)
    else:
        raise SettingError(
            f"rate_of={path}: is neither a run directory nor a results file of lm-eval"
        )
    if not rates:
        raise SettingError(f"rate_of={path}: the run judged no turn, so it has no realised rate")
    return rates


def _of_results(path: Path) -> dict[str, float]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Results)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingError(
            f"rate_of={path}: is no results file of a run of this harness: {error}"
        ) from error
    rates = {task: of.takeover.realised_rate for task, of in found.config.atts.statistics.items()}
    return {task: rate for task, rate in rates.items() if rate is not None}


def _of_journal(path: Path) -> dict[str, float]:
    judged: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for blob in _decisions(path):
        record = schema.decode_decision(blob)
        if record.reason in JUDGED:
            judged[record.sample.task] += 1
            taken[record.sample.task] += record.takeover
    return {task: taken[task] / count for task, count in judged.items()}


def _decisions(path: Path) -> list[bytes]:
    try:
        with contextlib.closing(
            sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)
        ) as base:
            schema.check(base, path)
            rows: list[tuple[Any]] = base.execute("SELECT record FROM decisions").fetchall()
    except sqlite3.Error as error:
        raise SettingError(f"rate_of={path}: cannot be read: {error}") from error
    return [blob for (blob,) in rows]
