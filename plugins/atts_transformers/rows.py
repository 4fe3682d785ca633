"""Rows of the key/value cache: which token ids each holds, and which one a request gets.

A row belongs to one request while that runs and keeps its keys and values afterwards. A later
request that starts with the same ids takes the row over (a sample's next turn) or has the common
part copied (its siblings, which share the prompt).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

# Rows are found by their first ids; a shorter common prefix is not worth the search.
KEY = 16
# A rolled-back tail up to this length is given up rather than kept in a row of its own.
SHORT_TAIL = 64


def common_prefix(a: Sequence[int], b: Sequence[int], limit: int) -> int:
    """Length of the common prefix of two id lists, at most `limit`."""
    high = min(len(a), len(b), limit)
    if a[:high] == b[:high]:
        return high
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclass(eq=False)
class CacheRow:
    """One row of the cache.

    Attributes:
        index: its place in the key/value tensors.
        ids: ids whose keys and values it holds.
        plan: ids the running request will have computed; None when the row is idle.
        used: when it was last let go (a counter).
    """

    index: int
    ids: list[int] = field(default_factory=list)
    plan: list[int] | None = None
    used: int = 0
    key: tuple[int, ...] | None = None


@dataclass(frozen=True)
class RowPlacement:
    """Where a request goes: `row` holds its first `reused` ids once `copy_from` is copied."""

    row: CacheRow
    reused: int
    copy_from: CacheRow | None = None


class RowTable:
    """All rows; pure bookkeeping, no tensors.

    Args:
        limit: most rows.
        divisible: rows can be cut back and copied in part; else a row is only ever extended.
    """

    def __init__(self, limit: int, *, divisible: bool = True) -> None:
        self.limit = limit
        self._divisible = divisible
        self.rows: list[CacheRow] = []
        self._by_key: defaultdict[tuple[int, ...], set[CacheRow]] = defaultdict(set)
        self._clock = 0

    def place(self, ids: list[int], limit: int) -> RowPlacement | None:
        """A row for a request over `ids` of which at most `limit` may come from the cache.

        None: no row is free, or a running request is just computing a longer common prefix than
        is there, so that waiting is cheaper.
        """
        best: CacheRow | None = None
        reused = coming = 0
        if limit >= KEY:
            for row in self._by_key.get(tuple(ids[:KEY]), ()):
                here = common_prefix(row.ids, ids, limit)
                if here > reused or (here == reused and best is not None and best.plan is not None):
                    best, reused = row, here
                if row.plan is not None and len(row.plan) > len(row.ids):
                    coming = max(coming, common_prefix(row.plan, ids, limit))
        if not self._divisible:
            if best is not None and (best.plan is not None or len(best.ids) > reused):
                best = None
        elif coming >= reused + KEY:
            return None
        if best is None or reused < KEY:
            best, reused = None, 0
        if best is not None and best.plan is None:
            tail = len(best.ids) - reused
            if tail == 0 or tail <= min(SHORT_TAIL, reused // 4):
                return self._take(best, ids, reused, None)
        free = self._free_row()
        if free is None:
            return None
        return self._take(free, ids, reused, None if free is best else best)

    def release(self, row: CacheRow, *, keep: bool = True) -> None:
        """The request of `row` is over; `keep=False` forgets what it holds."""
        self._clock += 1
        row.plan, row.used = None, self._clock
        if not keep:
            row.ids = []
        self._index(row, tuple(row.ids[:KEY]) if len(row.ids) >= KEY else None)

    def shrink(self, count: int) -> bool:
        """Drop rows from index `count` on; False if one of them is running."""
        if any(row.plan is not None for row in self.rows[count:]):
            return False
        for row in self.rows[count:]:
            self._index(row, None)
        del self.rows[count:]
        return True

    def _take(
        self, row: CacheRow, ids: list[int], reused: int, copy_from: CacheRow | None
    ) -> RowPlacement:
        row.ids = ids[:reused]
        row.plan = ids
        self._index(row, tuple(ids[:KEY]) if len(ids) >= KEY else None)
        return RowPlacement(row, reused, copy_from if reused else None)

    def _free_row(self) -> CacheRow | None:
        """An empty row, a new one, or the one idle for longest."""
        idle = [row for row in self.rows if row.plan is None]
        empty = next((row for row in idle if not row.ids), None)
        if empty is not None:
            return empty
        if len(self.rows) < self.limit:
            self.rows.append(CacheRow(len(self.rows)))
            return self.rows[-1]
        return min(idle, key=lambda row: row.used, default=None)

    def _index(self, row: CacheRow, key: tuple[int, ...] | None) -> None:
        if row.key == key:
            return
        if row.key is not None:
            self._by_key[row.key].discard(row)
            if not self._by_key[row.key]:
                del self._by_key[row.key]
        if key is not None:
            self._by_key[key].add(row)
        row.key = key
