"""Paths of the embedded pair."""

from __future__ import annotations

from pathlib import Path

from atts_harness.errors import SettingError

MODELS = Path(__file__).parent / "models"
BANKS = Path(__file__).parent / "banks"


def draft_path() -> Path:
    """Folder of the draft model."""
    return MODELS / "draft"


def target_path() -> Path:
    """Folder of the target model."""
    return MODELS / "target"


def bank_path(task: str) -> Path:
    """Bank of nonconformities for a task at its default settings.

    Raises:
        SettingError: If no bank is shipped for the task.
    """
    path = BANKS / f"{task}.json"
    if not path.exists():
        shipped = ", ".join(sorted(file.stem for file in BANKS.glob("*.json"))) or "none"
        raise SettingError(f"bank: none is shipped for task {task!r}; shipped: {shipped}")
    return path
