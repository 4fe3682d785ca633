"""Terminal output, with control characters and markup made harmless."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment
from rich.table import Column, Table

from atts_harness.neutral import plain


def console(**options: Any) -> Console:
    """A console without markup, emoji codes and control characters from outside.

    Args:
        options: of `rich.console.Console`.
    """
    terminal = Console(markup=False, emoji=False, highlight=False, **options)
    terminal.push_render_hook(_Plain())
    return terminal


class FittedTable:
    """A table that a narrow terminal shows in pieces, each with the columns that name the rows.

    Args:
        table: its first columns name the rows.
        companions: numbers of columns that stand in the same piece as the column before them, such
            as its interval.
        names: how many columns name the rows.
    """

    def __init__(self, table: Table, companions: Collection[int] = (), *, names: int = 1) -> None:
        self._table = table
        self._companions = companions
        self._names = names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = self._table.columns[: self._names]
        groups = self._groups()
        while groups:
            columns = groups.pop(0)
            while groups and self._fits([*names, *columns, *groups[0]], console):
                columns = [*columns, *groups.pop(0)]
            yield self._piece([*names, *columns], options.max_width)

    def _groups(self) -> list[list[Column]]:
        """Columns that stand in one piece, in order; the names are in all of them."""
        groups: list[list[Column]] = []
        for number, column in enumerate(self._table.columns[self._names :], start=self._names):
            if number in self._companions and groups:
                groups[-1].append(column)
            else:
                groups.append([column])
        return groups

    def _fits(self, columns: Sequence[Column], console: Console) -> bool:
        piece = self._piece(columns, console.width)
        endless = console.options.update(max_width=_ENDLESS)
        return console.measure(piece, options=endless).maximum <= console.width

    def _piece(self, columns: Sequence[Column], width: int) -> Table:
        return _piece(self._table, columns, self._names, width // 2 // self._names)


_ENDLESS = 10_000


def _piece(table: Table, columns: Sequence[Column], names: int, most: int) -> Table:
    """Some columns of a table; the first `names` are at most `most` cells wide each, and wrap."""
    piece = Table(
        title=table.title,
        title_justify=table.title_justify,
        title_style=table.title_style,
        box=table.box,
        pad_edge=table.pad_edge,
        padding=table.padding,
    )
    for number, column in enumerate(columns):
        piece.add_column(
            column.header,
            justify=column.justify,
            no_wrap=column.no_wrap and number >= names,
            overflow="fold",
            max_width=most if number < names else None,
        )
    for row, *cells in zip(table.rows, *(column.cells for column in columns), strict=True):
        piece.add_row(*cells, style=row.style, end_section=row.end_section)
    return piece


class _Plain(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Harmless(renderable) for renderable in renderables]


class _Harmless:
    """Something to print, with the text of each of its parts made harmless."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts: Iterable[Segment] = console.render(self._inner, options)
        for part in parts:
            yield part if part.control else Segment(plain(part.text), part.style)
