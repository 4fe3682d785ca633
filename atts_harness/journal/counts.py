"""How far a run has come, from its journal, while another process writes to it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from atts_harness.journal import schema

PATIENCE = 0.2


@dataclass(frozen=True)
class Counts:
    """How far a run has come.

    Attributes:
        total: samples that are asked for.
        finished: those that have a result.
        failed: those of them that failed for good.
    """

    total: int
    finished: int
    failed: int


def counts(run_dir: Path) -> Counts | None:
    """The counts of a run; None where there is none yet, or its journal cannot be read now.

    It is for people who watch: nothing is checked, and nothing is written.
    """
    path = run_dir / schema.JOURNAL
    if not path.exists():
        return None
    sql = "SELECT (SELECT count(*) FROM planned), count(*), coalesce(sum(failed), 0) FROM samples"
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
            total, finished, failed = connection.execute(sql).fetchone()
    except schema.UNREADABLE:
        return None
    return Counts(max(total, finished), finished, failed) if total else None
