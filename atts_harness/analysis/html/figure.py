"""A figure of the page, and helpers that all figures share for tables and margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atts_harness.analysis.html.draw import HEIGHT, WIDTH, Painter
from atts_harness.analysis.html.series import Point
from atts_harness.analysis.html.view import View
from atts_harness.analysis.leaderboard import numbers


@dataclass(frozen=True)
class Figure:
    """A figure, or a text in its place.

    Attributes:
        name: for files and ids.
        title: what it shows.
        caption: how to read it.
        paint: draws it; None if there is nothing to draw.
        head: columns of its table.
        body: rows of its table; the first cell names the row.
        missing: what is not in it, and the reason.
        width: CSS pixels.
        height: CSS pixels.
    """

    name: str
    title: str
    caption: str = ""
    paint: Painter | None = None
    head: tuple[str, ...] = ()
    body: tuple[tuple[str, ...], ...] = ()
    missing: tuple[str, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT


def lacking(points: Sequence[Point], views: Mapping[str, View], part: str) -> tuple[str, ...]:
    """Sentences that name the rows without this part and say why they lack it."""
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.row.oracle:
            continue  # its note in the leaderboard says what it is; once is enough
        lacks = views[point.row.id].lacks
        reason = lacks.get(part) or lacks.get("ledger") or "no finished sample"
        reasons.setdefault(reason, []).append(point.label)
    return tuple(f"Not shown: {'; '.join(names)}: {reason}." for reason, names in reasons.items())


def three(value: float | None) -> str:
    """A share with three digits; a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def ends(low: float | None, high: float | None) -> str:
    """An interval to print after a value; "" without one."""
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def short(value: float, _place: int | None = None) -> str:
    """A figure on an axis: 1.5k, 20M, 3.2T. Matplotlib hands over the tick's place, too."""
    return numbers.short(value)
