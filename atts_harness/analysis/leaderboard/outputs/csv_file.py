"""The leaderboard as CSV: one line a row with every figure; an empty field is not known."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from atts_harness.analysis.leaderboard.column import Column
from atts_harness.analysis.leaderboard.columns import columns_of
from atts_harness.analysis.leaderboard.rows import Leaderboard, Row
from atts_harness.neutral import field


def csv_text(leaderboard: Leaderboard) -> str:
    """The whole leaderboard."""
    columns = [column for column in columns_of(leaderboard.rows) if column.csv]
    lines = [_line(leaderboard, row, columns) for row in leaderboard.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(leaderboard: Leaderboard, row: Row, columns: Sequence[Column]) -> dict[str, object]:
    table = next(table for table in leaderboard.tables if row.id in table.rows)
    line: dict[str, object] = {
        "table": table.id,
        "id": row.id,
        "strategy": row.strategy,
        "label": row.label,
        "oracle": row.oracle,
        "not_comparable": "; ".join(table.marks.get(row.id, ())),
        "task": row.task,
    }
    for column in columns:
        line[column.csv] = column.value(row)
        if column.interval is not None:
            interval = column.interval(row)
            line[f"{column.csv}_low"] = interval.low if interval else None
            line[f"{column.csv}_high"] = interval.high if interval else None
    line["notes"] = "; ".join(row.notes)
    # Names come from outside, and a spreadsheet takes some of them for formulas.
    return {key: field(value) if isinstance(value, str) else value for key, value in line.items()}
