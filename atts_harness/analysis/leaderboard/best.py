"""The best row of a table, and which rows cannot be told from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atts_harness.analysis.leaderboard.comparisons import comparisons
from atts_harness.analysis.leaderboard.loading import LoadedRow
from atts_harness.analysis.leaderboard.rows import Row
from atts_harness.analysis.leaderboard.samples import RowSamples


def best_of(rows: Sequence[Row]) -> Row | None:
    """The row with the highest accuracy, oracles left out. None: no row was graded."""
    able = [row for row in rows if row.accuracy is not None and not row.oracle]
    return max(able, key=lambda row: row.accuracy.value if row.accuracy else 0.0, default=None)


def indistinct(
    rows: Sequence[Row], samples: Mapping[str, RowSamples], level: float
) -> frozenset[str]:
    """Ids of the rows that are not distinguishable from the best one.

    Every row is compared with the best one, paired by question, and the intervals hold for all of
    these comparisons at once. A row that cannot be compared with it is not among them.

    Args:
        rows: of one table.
        samples: the samples behind each row, by row id.
        level: chance, at least, that all intervals hold.
    """
    best = best_of(rows)
    if best is None:
        return frozenset()
    loaded = [LoadedRow(row, samples.get(row.id)) for row in rows]
    against_best = comparisons(loaded, level, reference=best.id)
    return frozenset(
        comparison.row for comparison in against_best if comparison.distinguishable is False
    )
