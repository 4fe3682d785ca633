"""Tables and lists of the pages begin and end where they seem to, on the site as on GitHub."""

import re
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_list_begins_after_a_blank_line(page):
    """GitHub begins a list in the middle of a paragraph; the site goes on with the sentence."""
    fenced, swallowed, first = False, [], ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if fenced or not line.strip() or line.lstrip().startswith("```"):
            first = ""
        elif not first:
            first = line
        elif line.startswith("- ") and not re.match(r"\s*(-|\d+\.) |#", first):
            swallowed.append(f"line {number}: {line[:40]}")
    assert not swallowed
