"""What this package adds: its lm-eval tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from atts_harness.hookspecs import hookimpl


@hookimpl
def atts_task_dirs() -> Iterable[Path]:
    """Every YAML below this package."""
    return [Path(__file__).parent]


@hookimpl
def atts_references() -> Iterable[Path]:
    """The data sets."""
    return [Path(__file__).with_name("references.yml")]
