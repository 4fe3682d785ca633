"""`write_page`: a leaderboard and its runs as one HTML file that loads nothing else.

Everything is in the file: styles, scripts, figures as SVG, samples in compressed blocks. A content
security policy forbids all loading, and all scripts but the page's own, by hash, so that even a
text that escaped its place could do nothing. Jinja escapes what it inserts; texts of models reach
the page in the blocks only, and from there as text nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from atts_harness.analysis.html import MOST_SAMPLES
from atts_harness.analysis.html.draw import save, themed_svg
from atts_harness.analysis.html.figure import Figure
from atts_harness.analysis.html.figures import ALL, comparing, selected
from atts_harness.analysis.html.figures_run import of_run
from atts_harness.analysis.html.samples import FIELDS, Browser, add_row, kept_documents
from atts_harness.analysis.html.series import Point, points_of
from atts_harness.analysis.html.style import SERIES, joined_scripts, security_policy, stylesheet
from atts_harness.analysis.html.view import View, read_row
from atts_harness.analysis.leaderboard.column import Column
from atts_harness.analysis.leaderboard.columns import shown_columns
from atts_harness.analysis.leaderboard.rows import Leaderboard, Row, Table
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.errors import SettingError

SCRIPTS = ("sort.js", "filter.js", "runs.js", "samples.js", "scroll.js", "theme.js")


@dataclass(frozen=True)
class PageOptions:
    """Settings of a page.

    Attributes:
        title: its heading.
        most_samples: samples whose texts are in the page at most; it says how many are left out.
    """

    title: str = "ATTS report"
    most_samples: int = MOST_SAMPLES


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page's template needs it."""

    figure: Figure
    svg: Markup | None


@dataclass(frozen=True)
class Part:
    """A table with its figures."""

    table: Table
    rows: list[Row]
    columns: list[Column]
    points: dict[str, Point]
    figures: list[PageFigure]
    low: float
    high: float
    disagree: dict[str, dict[str, float]]
    undecided: dict[str, float]
    common: tuple[str, ...]


@dataclass
class Gathered:
    """Everything that was read about all rows."""

    views: dict[str, View] = field(default_factory=dict)
    browser: Browser = field(default_factory=Browser)


def write_page(
    leaderboard: Leaderboard,
    samples: Mapping[str, RowSamples],
    out_path: Path,
    *,
    figures_dir: Path | None = None,
    figures: Sequence[str] = (ALL,),
    options: PageOptions | None = None,
) -> list[Path]:
    """Write the page, and the figures for papers if a folder is named.

    Args:
        leaderboard: its rows may come from runs of this project and from other lm-eval models.
        samples: the samples behind each row, by row id; rows made from others have none.
        out_path: the page.
        figures_dir: where figures go as SVG, PNG and PDF.
        figures: which of them; `all`, names, or the beginnings of names such as `pareto`.
        options: settings.

    Returns:
        The files written, the page first.

    Raises:
        SettingError: a file cannot be written.
    """
    page_options = options or PageOptions()
    gathered = _gather(leaderboard, samples, page_options.most_samples)
    parts = [_part(leaderboard, table, gathered.views) for table in leaderboard.tables]
    runs = _runs(leaderboard, parts, gathered.views)
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=page_options.title,
            leaderboard=leaderboard,
            parts=parts,
            runs=[
                (row, point, [_shown(f, f"r{n}") for f in figures_of_run])
                for n, (row, point, figures_of_run) in runs
            ],
            browser=gathered.browser,
            left_out=left_out(leaderboard, gathered.browser, page_options.most_samples),
            data=script_json(_data(leaderboard, gathered.browser)),
            policy=security_policy(joined_scripts(SCRIPTS)),
            style=Markup(stylesheet()),
            script=Markup(joined_scripts(SCRIPTS)),
            series=SERIES,
        )
    )
    written = [out_path]
    try:
        out_path.write_text(html, encoding="utf-8")
        if figures_dir is not None:
            figures_dir.mkdir(parents=True, exist_ok=True)
            for stem, figure in _all_figures(parts, runs):
                if figure.paint is not None and selected(figure.name, figures):
                    size = {"width": figure.width, "height": figure.height}
                    written += save(figure.paint, figures_dir / stem, **size)
    except OSError as error:
        raise SettingError(f"{error.filename or out_path}: {error.strerror}") from error
    return written


def script_json(value: Any) -> Markup:
    """JSON for a script element, escaped so that it cannot end the element or open another."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def left_out(leaderboard: Leaderboard, browser: Browser, most: int) -> str:
    """A note on how many samples are not in the page, and where they are; "" if all are in it."""
    if not browser.left_out:
        return ""
    count = sum(number for number, _ in browser.left_out.values())
    places = "; ".join(
        f"{number:,} of {leaderboard.row(id_).label} in {place}"
        for id_, (number, place) in browser.left_out.items()
    )
    return (
        f"{browser.count:,} samples are in this page, of the same problems for every row of a "
        f"task; {count:,} more are left out (at most {most:,} are put in): {places}."
    )


def _gather(leaderboard: Leaderboard, samples: Mapping[str, RowSamples], most: int) -> Gathered:
    """Read every row once. Texts are compressed at once, so that only one row's are in memory."""
    gathered = Gathered()
    with_samples = {row.id: samples[row.id] for row in leaderboard.rows if row.id in samples}
    docs = kept_documents(with_samples, most)
    for row in leaderboard.rows:
        view = gathered.views[row.id] = read_row(row, samples.get(row.id))
        if row.id in with_samples:
            readable = "ledger" not in view.lacks
            add_row(gathered.browser, row.id, with_samples[row.id], docs[row.id], with_run=readable)
    return gathered


def _part(leaderboard: Leaderboard, table: Table, views: Mapping[str, View]) -> Part:
    rows = [leaderboard.row(id_) for id_ in table.rows]
    points = points_of(rows)
    ends = [
        end
        for row in rows
        if row.accuracy
        for end in (row.accuracy.low, row.accuracy.high, row.accuracy.value)
        if end is not None
    ]
    number = leaderboard.tables.index(table)
    return Part(
        table=table,
        rows=rows,
        columns=shown_columns(rows, "page"),
        points={point.row.id: point for point in points},
        figures=[_shown(figure, f"t{number}") for figure in comparing(points, views)],
        low=min(ends, default=0.0),
        high=max(ends, default=1.0),
        common=tuple(note for note in rows[0].notes if all(note in r.notes for r in rows))
        if len(rows) > 1
        else (),
        disagree={row.id: views[row.id].disagree for row in rows if views[row.id].disagree},
        undecided={
            row.id: row.undecided / row.samples
            for row in rows
            if row.undecided is not None and row.samples
        },
    )


Runs = list[tuple[int, tuple[Row, Point, list[Figure]]]]


def _runs(leaderboard: Leaderboard, parts: Sequence[Part], views: Mapping[str, View]) -> Runs:
    runs = [
        (row, part.points[row.id], of_run(views[row.id])) for part in parts for row in part.rows
    ]
    return list(enumerate(runs))


def _all_figures(parts: Sequence[Part], runs: Runs) -> Iterator[tuple[str, Figure]]:
    for part in parts:
        for drawn in part.figures:
            yield _file_name(part.table.id, drawn.figure.name), drawn.figure
    for _, (row, _point, figures) in runs:
        for figure in figures:
            yield _file_name(row.id, figure.name), figure


def _file_name(*parts: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", "-".join(parts)).strip("-")


def _shown(figure: Figure, place: str) -> PageFigure:
    if figure.paint is None:
        return PageFigure(figure, None)
    svg = themed_svg(
        figure.paint,
        label=f"{figure.title}. {figure.caption} The figures are in the table below.",
        width=figure.width,
        height=figure.height,
        prefix=f"{place}-{figure.name}",
    )
    return PageFigure(figure, Markup(svg))


def _data(leaderboard: Leaderboard, browser: Browser) -> dict[str, Any]:
    return {
        "fields": FIELDS,
        "lines": browser.lines,
        "rows": {
            row.id: {
                "label": row.label,
                "task": row.task,
                "strategy": row.strategy,
                "pair": row.pair.name,
                "text": " ".join(
                    [row.label, row.task, row.pair.name]
                    + [f"{name}={value}" for name, value in row.options.items()]
                ).lower(),
            }
            for row in leaderboard.rows
        },
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("atts_harness.analysis.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = lambda value: "" if value is None else repr(value)
    environment.filters["three"] = lambda value: "–" if value is None else f"{value:.3f}"
    environment.filters["signed"] = lambda value: (
        "–" if value is None else f"{value:+.3f}".replace("-", "−")
    )
    environment.filters["p"] = _p
    return environment


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"
