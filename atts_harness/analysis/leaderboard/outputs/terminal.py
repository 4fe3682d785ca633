"""The leaderboard for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from atts_harness import terminal
from atts_harness.analysis.leaderboard.outputs.sheets import ORACLE, Sheet, about, sections
from atts_harness.analysis.leaderboard.rows import Leaderboard


def render(leaderboard: Leaderboard) -> RenderableType:
    """The leaderboard as tables for a terminal."""
    parts: list[RenderableType] = []
    for section in sections(leaderboard):
        parts.append(Text(section.title, style="bold"))
        parts.extend(Text(f"not beside the first table: {words}") for words in section.differs)
        parts.extend(
            terminal.FittedTable(_rich(sheet), sheet.intervals) for sheet in section.sheets
        )
        parts.extend(Text(note, style="dim") for note in section.notes)
        parts.append(Text(""))
    parts.extend(Text(words) for words in about(leaderboard))
    return Group(*parts)


def _rich(sheet: Sheet) -> RichTable:
    table = RichTable(
        title=Text(sheet.title),
        title_justify="left",
        title_style="italic",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    for name, words in zip(sheet.head, sheet.words, strict=True):
        table.add_column(Text(name), justify="left" if words else "right", no_wrap=not words)
    for row in sheet.body:
        table.add_row(*(Text(cell, style="dim" if row[0].endswith(ORACLE) else "") for cell in row))
    return table
