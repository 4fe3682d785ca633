"""Tables of the pages end where they seem to."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_blank_line_follows_a_table(page):
    """GitHub ends a table at a list item or a sentence; the site draws it into the table."""
    fenced, swallowed = False, []
    lines = page.read_text().splitlines()
    for number, (line, after) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
        fenced ^= line.lstrip().startswith("```")
        row = line.strip().startswith("|") and line.strip().endswith("|")
        if row and not fenced and after.strip() and not after.strip().startswith(("|", "<!--")):
            swallowed.append(f"line {number + 1}: {after.strip()[:40]}")
    assert not swallowed
