"""What this package adds to the harness: lm-eval as a framework, its command, published suites."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atts_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer

    from atts_harness.framework import EvalFramework
    from atts_harness.hookspecs import Preset
    from atts_harness.results.values import ResultsFormat


@hookimpl
def atts_frameworks() -> Iterable[EvalFramework]:
    """lm-eval."""
    from atts_lm_eval.framework import LmEval

    return [LmEval()]


@hookimpl
def atts_cli(app: typer.Typer) -> None:
    """Add `atts lm-eval`."""
    from atts_lm_eval import commands

    commands.add_to(app)


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """The published pairs."""
    from atts_lm_eval.presets import published_pairs

    return published_pairs()


@hookimpl
def atts_plans() -> Iterable[Path]:
    """The published suites."""
    return sorted(Path(__file__).with_name("plans").glob("*.yaml"))


@hookimpl
def atts_read_results() -> Iterable[ResultsFormat]:
    """lm-eval's results files and sample logs."""
    from atts_lm_eval.results_file import results_format

    return [results_format()]


@hookimpl
def atts_registrations() -> tuple[str, Iterable[tuple[str, str, str]]]:
    """How models and tasks reach lm-eval here."""
    from atts_lm_eval import commands

    return commands.registrations()


@hookimpl
def atts_references() -> Iterable[Path]:
    """lm-eval itself."""
    return [Path(__file__).with_name("references.yml")]
