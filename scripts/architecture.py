"""Draws docs/figures/architecture.svg from docs/architecture.toml. Run by `make docs`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "docs" / "architecture.toml"
PICTURE = ROOT / "docs" / "figures" / "architecture.svg"

WIDTH = 980
LABELS = 196
MARGIN = 14
BOX_HEIGHT = 40
GAP = 8
# Widths of a character at 13 and 10.5 pixels, a little too wide, so that no text leaves its box.
NAME_WIDTH, TEXT_WIDTH = 8.7, 6.2
COLOURS = ("#eef2f7", "#ffffff")
STYLE = """
text { font-family: system-ui, sans-serif; fill: #1f2933 }
.name { font: 600 13px ui-monospace, monospace }
.says { font-size: 10.5px; fill: #52606d }
.band { font-size: 14px; font-weight: 600 }
.box { fill: #ffffff; stroke: #9aa5b1 }
.outside { fill: #fff7e6; stroke: #c99a2e; stroke-dasharray: 4 3 }
""".strip()


def read(path: Path = SOURCE) -> dict[str, Any]:
    """The source: bands of parts, and what comes from outside."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def order(source: Mapping[str, Any]) -> list[str]:
    """Every part of the core, what others stand on first."""
    return [part for band in source["band"] for part in band["parts"]]


def draw(source: Mapping[str, Any]) -> str:
    """The picture as SVG: bands from the outside at the top to what everything stands on."""
    shapes: list[str] = []
    top = MARGIN
    outside = {"name": "plugins", "says": "come in by hooks", "style": "outside"}
    bands = [{**outside, "parts": source["outside"]}, *reversed(source["band"])]
    for number, band in enumerate(bands):
        top = _band(shapes, band, top, COLOURS[number % 2])
    height = top + MARGIN + 10
    words = "A part imports from its own band to its left and from the bands below, never upwards."
    shapes.append(f'<text class="says" x="{MARGIN}" y="{height - MARGIN}">{words}</text>')
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="Parts of the core and their order">\n'
        f"<style>\n{STYLE}\n</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _band(shapes: list[str], band: Mapping[str, Any], top: int, colour: str) -> int:
    """Draw a band below `top`; where the next one begins."""
    boxes: list[str] = []
    left, row = LABELS, top + GAP
    style = band.get("style", "box")
    for name, says in band["parts"].items():
        width = round(max(len(name) * NAME_WIDTH, len(says) * TEXT_WIDTH) + 18)
        if left + width > WIDTH - MARGIN:
            left, row = LABELS, row + BOX_HEIGHT + GAP
        boxes += [
            f'<rect class="{style}" x="{left}" y="{row}" width="{width}" height="{BOX_HEIGHT}" '
            'rx="5"/>',
            f'<text class="name" x="{left + 9}" y="{row + 17}">{escape(name)}</text>',
            f'<text class="says" x="{left + 9}" y="{row + 32}">{escape(says)}</text>',
        ]
        left += width + GAP
    bottom = row + BOX_HEIGHT + GAP
    shapes += [
        f'<rect x="0" y="{top}" width="{WIDTH}" height="{bottom - top}" fill="{colour}"/>',
        f'<text class="band" x="{MARGIN}" y="{top + 26}">{escape(band["name"])}</text>',
        f'<text class="says" x="{MARGIN}" y="{top + 42}">{escape(band["says"].replace("`", ""))}'
        "</text>",
        *boxes,
    ]
    return bottom


if __name__ == "__main__":
    PICTURE.write_text(draw(read()), encoding="utf-8")
    print(f"written: {PICTURE.relative_to(ROOT)}")
