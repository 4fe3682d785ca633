"""Figures in two renderings from one definition: themed SVG for the page, SVG and PNG for papers.

Matplotlib draws both. Three ways were weighed: plotly.js inside the page costs 4.5 MB, has tooltips
that a keyboard does not reach and has one theme at a time; SVG code of our own would be a second
definition beside what papers need; Matplotlib's SVG is 5-30 kB a figure, with its colours replaced
by CSS variables it follows light and dark, and its groups can be hidden when rows are filtered.
Beside each figure is a table with its numbers, for people who do not see it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.text import Text

from atts_harness.analysis.html.labels import LINE, SIZE
from atts_harness.analysis.html.style import GRID, INK, LIGHT, MUTED, PAPER, SERIES

WIDTH, HEIGHT = 400, 280
"""Size of a figure in CSS pixels; narrow screens show it unscaled."""
DPI = 72.0

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"

COLUMNS = {"1col": 3.25, "2col": 6.75}
"""Widths in inches of one column of a paper and of both."""
LOWEST = 150
"""CSS pixels: the least height of a figure for a paper, unless the page's figure is lower."""

# Placeholder colours, replaced by CSS variables in the SVG; no figure uses them otherwise.
_MARKS = {name: f"#fe01{number:02x}" for number, name in enumerate(LIGHT)}

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))


def marker(number: int) -> str:
    """The marker of a series; series of one colour have markers of their own."""
    return MARKERS[(number + number // SERIES) % len(MARKERS)]


_STYLE: dict[Any, Any] = {
    "font.size": 11.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.8,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.6,
    "path.simplify": False,
    "text.parse_math": False,  # names of models and options are not formulas
    "svg.fonttype": "none",
    "svg.hashsalt": "atts",
    "savefig.dpi": DPI,
}
_COLOURED: dict[Any, str] = {
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


_IN_A_COLUMN: dict[Any, Any] = {
    **{"font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 8.0},
    **{"xtick.labelsize": 7.0, "ytick.labelsize": 7.0, "lines.linewidth": 1.2},
    "pdf.fonttype": 42,  # fonts that can be searched and copied, as publishers ask
}


@dataclass(frozen=True)
class Mark:
    """What an artist shows: the row that it belongs to, and its figures in words (a tooltip)."""

    row: str = ""
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FigureDrawing:
    """A figure that is being drawn.

    Attributes:
        canvas: Matplotlib's figure.
        colours: by name (`ink`, `s0`, ...), as the renderer needs them.
        marks: what the artists with a `gid` show.
    """

    canvas: Canvas
    colours: Mapping[str, str]
    marks: dict[str, Mark] = field(default_factory=dict)

    @property
    def width(self) -> float:
        """CSS pixels."""
        return float(self.canvas.get_size_inches()[0] * DPI)

    @property
    def height(self) -> float:
        """CSS pixels."""
        return float(self.canvas.get_size_inches()[1] * DPI)

    @property
    def size(self) -> float:
        """Of the font of names, in CSS pixels: as large as the figures of an axis."""
        return float(rcParams["xtick.labelsize"])

    @property
    def line(self) -> float:
        """Height of a line of that font, in CSS pixels."""
        return LINE * self.size / SIZE

    def axes(
        self, *, left: float = 46, right: float = 12, top: float = 12, bottom: float = 40
    ) -> Axes:
        """The only axes, with margins in CSS pixels."""
        return self.canvas.add_axes(self.box(left, right, top, bottom))

    def box(
        self, left: float, right: float, top: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """Left, bottom, width and height as shares of the figure, from margins in CSS pixels."""
        inner = (self.width - left - right, self.height - top - bottom)
        return (
            left / self.width,
            bottom / self.height,
            inner[0] / self.width,
            inner[1] / self.height,
        )

    def place(self, axes: Axes, x: float, y: float) -> tuple[float, float]:
        """Position of a point of the axes in the SVG."""
        across, up = axes.transData.transform((x, y))
        return float(across), float(self.height - up)

    def write(self, left: float, top: float, text: str, colour: str) -> Text:
        """A name whose line has its left upper corner at this place, in CSS pixels."""
        base = top + 0.75 * self.line
        at = (left / self.width, 1 - base / self.height)
        return self.canvas.text(*at, text, fontsize=self.size, color=colour)

    def stroke(self, start: tuple[float, float], end: tuple[float, float], **style: Any) -> Line2D:
        """A line between two places in CSS pixels; markers, if it has any, are at both."""
        line = Line2D(
            [start[0] / self.width, end[0] / self.width],
            [1 - start[1] / self.height, 1 - end[1] / self.height],
            transform=self.canvas.transFigure,
            **style,
        )
        self.canvas.add_artist(line)
        return line

    def mark(self, artist: Artist, row: str = "", title: str = "", **data: str) -> None:
        """Note what an artist shows."""
        name = f"mark-{len(self.marks)}"
        artist.set_gid(name)
        self.marks[name] = Mark(row, title, data)

    def series(self, number: int) -> str:
        """Colour of a series. Colours repeat; then dashes and markers tell series apart."""
        return self.colours[f"s{number % SERIES}"]


Painter = Callable[[FigureDrawing], None]
"""Draws a figure."""


def themed_svg(
    paint: Painter,
    *,
    label: str,
    width: int = WIDTH,
    height: int = HEIGHT,
    prefix: str = "f",
) -> str:
    """A figure as an SVG element whose colours are CSS variables (`--ink`, `--s0`, ...).

    Args:
        paint: draws the figure.
        label: what it shows, for people who do not see it.
        width: CSS pixels.
        height: CSS pixels.
        prefix: of the ids in it; unique in a page.

    Returns:
        `<svg viewBox=...>` without a size, ids only where something refers to them; artists that
        were marked have `data-row` and a `<title>`.
    """
    with rc_context(_STYLE | {key: _MARKS.get(c, c) for key, c in _COLOURED.items()}):
        drawing = FigureDrawing(_canvas(width, height), _MARKS)
        paint(drawing)
        stream = io.StringIO()
        # Without metadata the same data gives the same bytes.
        drawing.canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(stream.getvalue(), drawing.marks, prefix, label)


def save(paint: Painter, stem: Path, *, width: int = WIDTH, height: int = HEIGHT) -> list[Path]:
    """The figure for a paper, in the light theme.

    `stem`.svg and `stem`.png (300 dpi) at its natural size; `stem`-1col.pdf and `stem`-2col.pdf as
    wide as one column and as two columns of a paper, with text of the size that captions have.

    Returns:
        The files.

    Raises:
        OSError: they cannot be written.
    """
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    with rc_context(_STYLE | {key: LIGHT.get(c, c) for key, c in _COLOURED.items()}):
        drawing = FigureDrawing(_canvas(width, height), LIGHT)
        paint(drawing)
        drawing.canvas.savefig(files[0], metadata={"Date": None}, facecolor=LIGHT[PAPER])
        drawing.canvas.savefig(files[1], dpi=300, facecolor=LIGHT[PAPER])
    for name, inches in COLUMNS.items():
        files.append(stem.with_name(f"{stem.name}-{name}.pdf"))
        _save_pdf(paint, files[-1], round(inches * DPI), (width, height))
    return files


def _save_pdf(paint: Painter, file: Path, width: int, natural: tuple[int, int]) -> None:
    """Size for a column's width, never so low that margins fill the figure.

    A figure that is high because of its many names stays so, for the names do not shrink with it.
    """
    wide, high = natural
    lowest = high if high > HEIGHT else min(high, LOWEST)
    height = min(max(round(width * high / wide), lowest), max(high, HEIGHT))
    style = _STYLE | {key: LIGHT.get(c, c) for key, c in _COLOURED.items()} | _IN_A_COLUMN
    with rc_context(style):
        drawing = FigureDrawing(_canvas(width, height), LIGHT)
        paint(drawing)
        drawing.canvas.savefig(file, format="pdf", metadata={"CreationDate": None})


def _canvas(width: int, height: int) -> Canvas:
    return Canvas(figsize=(width / DPI, height / DPI), dpi=DPI)


_VARIABLES = {colour: f"var(--{name})" for name, colour in _MARKS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"(font(?:-family)?):[^;]*")
_SIZE = re.compile(r"([\d.]+)px")
_LONG = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def _themed(text: str, marks: Mapping[str, Mark], prefix: str, label: str) -> str:
    root = ElementTree.fromstring(text)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": label}
    for parent in list(root.iter()):
        for child in list(parent):
            # A style sheet in an SVG holds for the whole page; the page's own says the same.
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = {e.attrib[HREF][1:] for e in root.iter() if HREF in e.attrib}
    used |= {name for e in root.iter() for name in _REFERENCE.findall(" ".join(e.attrib.values()))}
    for element in root.iter():
        _rewrite(element, marks, used, prefix)
    _drop_background(root)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")).strip()


def _rewrite(
    element: ElementTree.Element, marks: Mapping[str, Mark], used: set[str], prefix: str
) -> None:
    id_ = element.attrib.pop("id", None)
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if id_ in used:
        element.set("id", f"{prefix}-{id_}")
    if id_ is not None and id_ in marks:
        mark = marks[id_]
        for key, value in ({"row": mark.row} | dict(mark.data)).items():
            if value:
                element.set(f"data-{key}", value)
        if mark.title:
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = mark.title
            element.insert(0, title)
    for key, value in element.attrib.items():
        if key == HREF:
            value = f"#{prefix}-{value[1:]}"
        elif key in ("d", "x", "y", "transform", "points"):
            value = _LONG.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), value)
            value = re.sub(r"\s+", " ", value).strip()
        value = _REFERENCE.sub(lambda match: f"url(#{prefix}-{match[1]})", value)
        if key == "style":
            value = _plain_style(value)
        element.set(key, _COLOUR.sub(lambda match: _VARIABLES[match[0]], value))


def _plain_style(style: str) -> str:
    """A style without its font family, so that text takes the page's; its size stays."""
    size = _SIZE.search(style) if "font" in style else None
    style = _FONT.sub("", style)
    if size and "font-size" not in style:
        style = f"font-size:{size[1]}px;{style}"
    parts = [part.strip().replace(": ", ":") for part in style.split(";") if part.strip()]
    return ";".join(parts)


def _drop_background(root: ElementTree.Element) -> None:
    """Remove Matplotlib's two background rectangles, so that the page's background shows."""
    for parent in list(root.iter()):
        for child in list(parent):
            inner = list(child.iter(f"{{{SVG}}}path"))
            if child.tag == f"{{{SVG}}}g" and len(inner) == 1 and len(list(child)) == 1:
                style = inner[0].attrib.get("style", "")
                if re.fullmatch(r"fill:none;?(opacity:0)?", style):
                    parent.remove(child)
