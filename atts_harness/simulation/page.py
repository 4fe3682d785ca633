"""A plan as one HTML page that opens offline: the report's table and figures, of simulated runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from atts_harness.analysis.html.draw import themed_svg
from atts_harness.analysis.html.figure import Figure
from atts_harness.analysis.html.page import PageFigure, Part
from atts_harness.analysis.html.series import points_of
from atts_harness.analysis.html.style import joined_scripts, security_policy, stylesheet
from atts_harness.analysis.leaderboard.rows import Table
from atts_harness.errors import SettingError
from atts_harness.simulation.columns import leaderboard_rows, plan_columns
from atts_harness.simulation.rows import PlanRow
from atts_harness.simulation.sweeps import figures_of
from atts_harness.simulation.tables import TableRemarks, headline, notes

__all__ = ["write_plan"]

SCRIPTS = ("sort.js", "scroll.js", "theme.js")


def write_plan(
    plan: TableRemarks,
    rows: Sequence[PlanRow],
    further: Sequence[str],
    path: Path,
    figures: Sequence[Figure] = (),
) -> None:
    """Write the page.

    Args:
        plan: what stands above and below the rows.
        rows: of the plan.
        further: lines below the table, beside those of the rows.
        path: of the file.
        figures: further ones, before those of the sweeps.

    Raises:
        SettingError: it cannot be written.
    """
    part = _part(plan, rows, figures)
    html = (
        _environment()
        .get_template("plan.html.j2")
        .render(
            title=headline(plan),
            subtitle="Planned by atts-harness in simulated time; nothing was run.",
            policy=security_policy(joined_scripts(SCRIPTS)),
            style=Markup(stylesheet()),
            script=Markup(joined_scripts(SCRIPTS)),
            parts=[part],
            figures=part.figures,
            notes=[*notes(plan, rows), *further],
        )
    )
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--out {path}: cannot be written: {error.strerror}") from error


def _part(plan: TableRemarks, rows: Sequence[PlanRow], figures: Sequence[Figure]) -> Part:
    """The table as the report's templates want it."""
    by_id = leaderboard_rows(rows, plan.models, plan.trace)
    points = {point.row.id: point for point in points_of(list(by_id.values()))}
    series = [points[id_].series for id_ in by_id]
    title = f"Lengths, scores and endings from {plan.trace}"
    return Part(
        table=Table(id="plan", task=plan.trace, title=title, rows=tuple(by_id)),
        rows=list(by_id.values()),
        columns=plan_columns(dict(zip(by_id, rows, strict=True)), list(by_id.values())),
        points=points,
        figures=[_drawn(figure) for figure in [*figures, *figures_of(rows, series)]],
        low=0.0,
        high=1.0,
        disagree={},
        undecided={},
        common=(),
    )


def _drawn(figure: Figure) -> PageFigure:
    if figure.paint is None:
        return PageFigure(figure, None)
    svg = themed_svg(
        figure.paint,
        label=f"{figure.title}. {figure.caption} The figures are in the table below.",
        width=figure.width,
        height=figure.height,
        prefix=figure.name,
    )
    return PageFigure(figure, Markup(svg))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("atts_harness.simulation", "templates"),
                PackageLoader("atts_harness.analysis.html", "templates"),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = lambda value: "" if value is None else repr(value)
    return environment
