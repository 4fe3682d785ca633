"""What a column of the leaderboard is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from atts_harness.analysis.leaderboard import numbers
from atts_harness.analysis.leaderboard.numbers import UNKNOWN
from atts_harness.analysis.leaderboard.rows import Interval, Row

Value = float | int | str | bool | None
Visibility = Literal["always", "some", "differs", "extra", "never"]
"""In which tables a column stands: in all; where a row has something other than 0 in it; where rows
differ in it; on the page behind "all columns"; in none."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: the figure's dotted name in `leaderboard.json`.
        csv: its name in CSV; "" if it has no column there.
        title: heading.
        group: the part of the table that it belongs to.
        value: the figure; None is an empty cell and sorts last.
        write: formats the figure.
        cell: formats the whole cell, if that is more than the figure.
        interval: of the figure, shown after it.
        about: what it is, for a tooltip and the documentation.
        text: when it is shown in the terminal and in Markdown.
        page: when it is shown on the page.
        words: whether it holds words, not figures.
    """

    key: str
    csv: str
    title: str
    group: str
    value: Callable[[Row], Value]
    write: Callable[[float], str] = str
    cell: Callable[[Row], str] | None = None
    interval: Callable[[Row], Interval | None] | None = None
    about: str = ""
    text: Visibility = "always"
    page: Visibility = "always"
    words: bool = False

    def show(self, row: Row) -> str:
        """The text of the cell."""
        if self.cell is not None:
            return self.cell(row)
        value = self.value(row)
        if value is None:
            return UNKNOWN
        return value if isinstance(value, str) else self.write(value)

    def ends(self, row: Row) -> str:
        """The interval behind the figure; "" if there is none."""
        return "" if self.interval is None else numbers.ends(self.interval(row))


def stands(when: Visibility, column: Column, rows: Sequence[Row]) -> bool:
    """Whether a table with these rows shows the column."""
    if when == "some":
        return any(column.value(row) for row in rows)
    if when == "differs":
        return len({column.value(row) for row in rows}) > 1
    return when != "never"
