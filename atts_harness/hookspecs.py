"""The plugin contract: what a package can add, as pluggy hooks.

A package announces a module with hook implementations under the entry-point group
`atts_harness`; every built-in does the same. Hooks return data and import heavy libraries only
when something is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

    from atts_harness.backend import BackendKind
    from atts_harness.framework import EvalFramework
    from atts_harness.launcher import Launcher
    from atts_harness.records import CallRecord, DecisionRecord, RunRecord, SampleRecord
    from atts_harness.results.foreign import PublishedFormat
    from atts_harness.results.values import ResultsFormat
    from atts_harness.strategy import Strategy

__all__ = [
    "PROJECT",
    "FigureOf",
    "Preset",
    "Stage",
    "atts_backends",
    "atts_call_finished",
    "atts_cli",
    "atts_decision_made",
    "atts_figures",
    "atts_frameworks",
    "atts_launchers",
    "atts_plans",
    "atts_presets",
    "atts_published",
    "atts_read_results",
    "atts_references",
    "atts_registrations",
    "atts_run_finished",
    "atts_run_started",
    "atts_sample_finished",
    "atts_strategies",
    "atts_task_dirs",
    "hookimpl",
    "hookspec",
]

PROJECT = "atts_harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


FigureOf = Callable[[Sequence[Any], Mapping[str, Any]], Any]
"""From a table's points (`analysis.html.series.Point`) and, by row, what lies behind them
(`analysis.html.view.View`) to a figure (`analysis.html.figure.Figure`)."""


class Stage(StrEnum):
    """The stage of work of a command: its `rich_help_panel`, in the order of `atts --help`."""

    PREPARE = "Before a run"
    RUN = "Run"
    LOOK = "Look at runs"
    REPORT = "Report and decide"
    KEEP = "Journals and published runs"


@dataclass(frozen=True)
class Preset:
    """Named settings: a pair of models, published settings, or both.

    Attributes:
        name: as in `preset=NAME`; several are joined by `+`, later ones win.
        settings: `model_args` it stands for; what is given explicitly wins.
        summary: one line for `atts plugins`.
        default: used when neither `draft` nor `target` is given.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    default: bool = False


@hookspec
def atts_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]
    """Strategies; each becomes an lm-eval model with its name."""


@hookspec
def atts_backends() -> Iterable[BackendKind[Any]]:  # type: ignore[empty-body]
    """Backends for `backend=NAME`, and for the commands that start and examine their servers."""


@hookspec
def atts_presets() -> Iterable[Preset]:  # type: ignore[empty-body]
    """Presets for `preset=NAME`."""


@hookspec
def atts_task_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of lm-eval task YAMLs."""


@hookspec
def atts_frameworks() -> Iterable[EvalFramework]:  # type: ignore[empty-body]
    """Evaluation frameworks, for commands that need tasks and their documents."""


@hookspec
def atts_launchers() -> Iterable[Launcher]:  # type: ignore[empty-body]
    """Where the commands of a comparison run, for a plan's `launcher`."""


@hookspec
def atts_plans() -> Iterable[Path]:  # type: ignore[empty-body]
    """Plan files for `atts compare NAME`; the name is the file's, without its suffix."""


@hookspec
def atts_cli(app: typer.Typer) -> None:
    """Add commands to `atts`; a `Stage` as `rich_help_panel` puts one where it belongs."""


@hookspec
def atts_read_results() -> Iterable[ResultsFormat]:  # type: ignore[empty-body]
    """Formats in which other programs leave results, for `atts report` and `atts regrade`."""


@hookspec
def atts_published() -> Iterable[PublishedFormat]:  # type: ignore[empty-body]
    """Shapes of folders in which published code leaves its results, for `atts import`."""


@hookspec
def atts_figures() -> Iterable[FigureOf]:  # type: ignore[empty-body]
    """Figures of the report page: functions of a table's rows and the runs behind them."""


@hookspec
def atts_references() -> Iterable[Path]:  # type: ignore[empty-body]
    """Files of what to cite for strategies and tasks (`atts_harness.references`)."""


@hookspec
def atts_registrations() -> tuple[str, Iterable[tuple[str, str, str]]]:  # type: ignore[empty-body]
    """A table for `atts plugins`: its title, and rows of (what, package, how it is registered)."""


@hookspec
def atts_run_started(run: RunRecord) -> None:
    """Observer: a run begins."""


@hookspec
def atts_call_finished(record: CallRecord) -> None:
    """Observer: a call is recorded. Called in the run's loop: be quick."""


@hookspec
def atts_decision_made(record: DecisionRecord) -> None:
    """Observer: a takeover decision is recorded. Called in the run's loop: be quick."""


@hookspec
def atts_sample_finished(record: SampleRecord) -> None:
    """Observer: a sample is finished. Called in the run's loop: be quick."""


@hookspec
def atts_run_finished(run: RunRecord, samples: Mapping[str, int]) -> None:
    """Observer: a run ends; `samples` counts them by state (finished, failed, missing)."""
