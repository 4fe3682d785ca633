"""The figures that compare the rows of one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from atts_harness import plugins
from atts_harness.analysis.html.figure import Figure
from atts_harness.analysis.html.figures_bars import cost, waiting
from atts_harness.analysis.html.figures_lines import accuracy_by_turns, latency
from atts_harness.analysis.html.figures_points import pareto, realised
from atts_harness.analysis.html.series import Point
from atts_harness.analysis.html.view import View
from atts_harness.errors import UnknownSettingError

ALL = "all"
NAMES = (
    *("pareto-tokens", "pareto-latency", "pareto-flops", "turns", "realised", "latency"),
    *("waiting", "cost", "rate", "pit", "memory", "slots"),
)
"""Our own figures: first those of a table, then those of a run."""


def selected(name: str, names: Sequence[str]) -> bool:
    """Whether a figure is among those that are asked for: `all`, its name, or its first word."""
    return any(choice in (ALL, name) or name.startswith(f"{choice}-") for choice in names)


def check_names(names: Sequence[str]) -> None:
    """Refuse names of figures that do not exist.

    Raises:
        UnknownSettingError: names the nearest.
    """
    figures = [*NAMES, *plugins.figures()]
    for choice in names:
        if choice != ALL and not any(selected(name, [choice]) for name in figures):
            words = dict.fromkeys(name.partition("-")[0] for name in figures)
            raise UnknownSettingError(
                choice, [ALL, *figures, *words], source="--figures", what="figure"
            )


def comparing(points: Sequence[Point], views: Mapping[str, View]) -> list[Figure]:
    """All figures of a table: ours, then those of plugins.

    Args:
        points: its rows.
        views: by row id, what its run gives.
    """
    return [*_ours(points, views), *_of_plugins(points, views)]


def _of_plugins(points: Sequence[Point], views: Mapping[str, View]) -> Iterator[Figure]:
    """Make a plugin's figure; if it fails, a text in its place says so."""
    for name, entry in plugins.figures().items():
        try:
            yield entry.value(points, views)
        except Exception as error:  # a plugin's fault must not take the report away
            missing = f"{entry.distribution} could not make it: {type(error).__name__}: {error}"
            yield Figure(name, name, missing=(missing,))


def _ours(points: Sequence[Point], views: Mapping[str, View]) -> list[Figure]:
    return [
        pareto(
            points,
            "pareto-tokens",
            "Accuracy against target tokens",
            "target tokens computed a sample",
            lambda row: row.tokens.target_computed,
        ),
        pareto(
            points,
            "pareto-latency",
            "Accuracy against latency",
            "median seconds a sample",
            lambda row: row.speed.latency_p50,
        ),
        pareto(
            points,
            "pareto-flops",
            "Accuracy against compute",
            "FLOPs a sample (estimate)",
            lambda row: row.flops.total if row.flops else None,
        ),
        accuracy_by_turns(points, views),
        realised(points),
        latency(points, views),
        waiting(points, views),
        cost(points),
    ]
