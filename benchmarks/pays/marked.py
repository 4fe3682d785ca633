"""Parts of a page that a command makes, between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def put(page: Path, parts: dict[str, str]) -> None:
    """Replace the marked parts of a page.

    Raises:
        SystemExit: the page has no such part.
    """
    text = page.read_text(encoding="utf-8")
    for name, made in parts.items():
        marks = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page}: has no part {name}")
        whole = f"{marks[0]}{made.strip()}\n{marks[1]}"
        text = pattern.sub(lambda _, whole=whole: whole, text)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page.name}: {', '.join(parts)}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are words, and the others numbers."""
    lines = [f"| {' | '.join(heads)} |"]
    lines.append("|" + "---|" * left + "--:|" * (len(heads) - left))
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
