"""Groups rows into series, and names them for figures.

Rows of one strategy that differ in numbers only (a rate, a budget of turns) are operating points of
one series: one colour, joined by a line, each with its numbers. Words tell series apart
(`on_reject=replace`), and the inner strategy of a vote.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from atts_harness.analysis.html.style import SERIES
from atts_harness.analysis.leaderboard.rows import Row

REFERENCES = ("draft-only", "target-only", "random-takeover", "synchronous")
"""Reference strategies: they come last, so that the methods get the first colours."""


COLOURED = (
    *("atts", "random-takeover", "target-only", "draft-only"),
    *("specreason", "speculative-thinking", "glimprouter", "self-consistency"),
)
"""Strategies that have the first claim to a colour, the same in every report. That of others
depends on their name alone and is never that of ATTS."""
LONGEST = 80
"""Most letters of a series' name."""


@dataclass(frozen=True)
class Point:
    """A row in figures.

    Attributes:
        row: the row.
        series: number of its series; colour (modulo `SERIES`) and marker. A strategy has one colour
            in every report; its series have markers and dashes of their own.
        name: of its series.
        value: its operating point, such as `.2`; "" if the series has none.
        order: of the series' points, by operating point.
    """

    row: Row
    series: int
    name: str
    value: str
    order: tuple[float, ...]

    @property
    def label(self) -> str:
        """Name of the row."""
        return f"{self.name} {self.value}".strip()


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Every row as a point, by series and operating point; in a table's order otherwise."""
    inner = {(row.strategy, _inner(row)) for row in rows}
    several = {strategy for strategy, n in Counter(name for name, _ in inner).items() if n > 1}
    names = {row.id: _name(row, inner=row.strategy in several) for row in rows}
    ordered = sorted(rows, key=lambda row: (_rank(row), rows.index(row)))
    numbers: dict[str, int] = {}
    for row in ordered:
        if names[row.id] not in numbers:
            numbers[names[row.id]] = _free(_colour(row.strategy), numbers.values())
    places = list(numbers)
    points = [
        Point(row, numbers[names[row.id]], names[row.id], _value(row), _order(row)) for row in rows
    ]
    return sorted(points, key=lambda point: (places.index(point.name), point.order))


def _colour(strategy: str) -> int:
    """The number of a strategy's colour."""
    if strategy in COLOURED:
        return COLOURED.index(strategy)
    return 1 + zlib.crc32(strategy.encode()) % (SERIES - 1)


def _free(number: int, used: Collection[int]) -> int:
    """The next number with the same colour that no series uses."""
    while number in used:
        number += SERIES
    return number


def _rank(row: Row) -> int:
    if row.oracle:
        return len(REFERENCES) + 1
    return REFERENCES.index(row.strategy) + 1 if row.strategy in REFERENCES else 0


def _inner(row: Row) -> str | None:
    """The strategy whose samples vote."""
    inner = row.options.get("inner")
    return None if inner is None else str(inner)


def _name(row: Row, *, inner: bool) -> str:
    """The name of a row's series; with the inner strategy of its vote where `inner` is true."""
    name = row.label if row.oracle else _full_name(row, _inner(row) if inner else None)
    # An SVG cannot hold control characters.
    name = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _full_name(row: Row, inner: str | None) -> str:
    words = [_word(v) for k, v in row.point.items() if not _is_number(v) and v not in (None, "")]
    if inner is not None and inner not in words:
        words.insert(0, inner)
    return " ".join([row.strategy, *words])


def _word(value: Any) -> str:
    return str(value) if not isinstance(value, bool) else ("yes" if value else "no")


def _value(row: Row) -> str:
    values = [v for v in row.point.values() if _is_number(v)]
    return " ".join(
        re.sub(r"^0\.", ".", f"{v:.3g}" if isinstance(v, float) else str(v)) for v in values
    )


def _order(row: Row) -> tuple[float, ...]:
    return tuple(_float(v) for v in row.point.values() if _is_number(v))


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\d+/\d+", value) is not None  # a budget, B/m
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: Any) -> float:
    if isinstance(value, str):
        target_samples, _, samples = value.partition("/")
        return int(target_samples) / int(samples)
    return float(value)
