"""The leaderboard as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from atts_harness import neutral
from atts_harness.analysis.leaderboard.outputs.sheets import Section, about, sections
from atts_harness.analysis.leaderboard.rows import Leaderboard


def markdown(leaderboard: Leaderboard) -> str:
    """The leaderboard as Markdown."""
    lines = ["# Leaderboard", ""]
    for section in sections(leaderboard):
        lines += list(_section(section))
    lines += ["## How to read this", ""]
    lines += [f"- {neutral.markdown(words)}" for words in about(leaderboard)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {neutral.markdown(section.title)}"
    yield ""
    for words in section.differs:
        yield f"Not beside the first table: {neutral.markdown(words)}."
        yield ""
    for sheet in section.sheets:
        yield f"**{neutral.markdown(sheet.title)}**"
        yield ""
        yield _line(name.replace("\n", " ") for name in sheet.head)
        yield _line("---" if words else "---:" for words in sheet.words)
        for row in sheet.body:
            yield _line(row)
        yield ""
    for note in section.notes:
        yield f"- {neutral.markdown(note)}"
    if section.notes:
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(neutral.markdown(cell) for cell in cells)} |"
