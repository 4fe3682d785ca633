"""Evaluations by inspect_ai on the scripted pair."""

from __future__ import annotations

import pytest


@pytest.fixture
def evaluate(pair, tmp_path):
    """Runs an evaluation and returns its log."""
    inspect_ai = pytest.importorskip(
        "inspect_ai", reason="inspect_ai is not installed; `make test-frameworks` has it"
    )

    def evaluate(task, model="atts/target-only", **options):
        args = options.pop("args", {})
        (log,) = inspect_ai.eval(
            task,
            model=model,
            model_args=args,
            display="none",
            log_dir=str(tmp_path / "logs"),
            **options,
        )
        return log

    return evaluate
