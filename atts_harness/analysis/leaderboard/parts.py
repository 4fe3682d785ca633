"""Parts of a row that need no samples: its models, where it comes from, its FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atts_harness.analysis.leaderboard import flops
from atts_harness.analysis.leaderboard.costs import RowCosts
from atts_harness.analysis.leaderboard.rows import Pair, RowSource
from atts_harness.analysis.leaderboard.spent import Flops
from atts_harness.journal.provenance import model_identity
from atts_harness.journal.reader import RecordedRun
from atts_harness.ledger.prices import Price, parse_price
from atts_harness.records import RunRecord
from atts_harness.results.values import Results


def pair(record: RunRecord | None, results: Results | None) -> Pair:
    """The models of a row."""
    if record is None:
        alone = _short(results.name if results is not None else None) or "unknown model"
        return Pair(name=alone, target=alone, target_engine=foreign_name(results))
    names = {role: _short(identity.get("model")) for role, identity in record.roles.items()}
    engines = {
        role: " ".join(str(identity[key]) for key in ("engine", "version") if identity.get(key))
        or None
        for role, identity in record.roles.items()
    }
    names_of_models = [
        name or "?" for role in ("draft", "target") if (name := names.get(role)) is not None
    ]
    return Pair(
        name=" + ".join(names_of_models),
        draft=names.get("draft"),
        target=names.get("target"),
        draft_engine=engines.get("draft"),
        target_engine=engines.get("target"),
    )


def foreign_name(results: Results | None) -> str:
    """What lm-eval calls the kind of model that made a row of another program."""
    return "" if results is None else results.model


def recorded_prices(record: RunRecord | None) -> dict[str, Price]:
    """Prices that the run was given, by role."""
    settings = {} if record is None else record.settings
    return {
        role: parse_price(f"{role}_price", settings[f"{role}_price"])
        for role in ("draft", "target", "extractor")
        if settings.get(f"{role}_price")
    }


def source(
    run: RecordedRun | None, results: Results | None, record: RunRecord | None, task: str
) -> RowSource:
    """Where a row comes from."""
    saved = results.tasks.get(task) if results is not None else None
    return RowSource(
        kind="results" if run is None else "run",
        run_dir=None if run is None else str(run.path),
        results=None if results is None else str(results.path),
        samples=None if saved is None or saved.log is None else str(saved.log),
        started_at=None if record is None else record.started_at,
        harness=None if record is None else record.harness,
        seed=None if record is None else record.settings.get("seed"),
    )


def flops_of(
    cost: RowCosts,
    record: RunRecord | None,
    task: str,
    parameters: Mapping[str, float],
    notes: list[str],
) -> Flops | None:
    """The estimate of a row; what a reader has to know is added to its notes."""
    roles = [role for role in cost.roles if role in ("draft", "target")]
    ran: Mapping[str, Any] = {}
    if record is not None:
        ran = record.tasks.get(task, {}).get("provenance") or {}
    sizes = {}
    for role in roles:
        model = None if record is None else record.roles.get(role, {}).get("model")
        setting = parameters.get(role)
        if model and ran.get(role) and model_identity(str(model)) != ran[role]:
            # The model there now is another one, or none: its size says nothing of the run.
            model = None
            if setting is None:
                notes.append(
                    f"the {role} that ran is no longer at its place: --parameters {role}=N"
                )
        size = flops.size_of(model, setting)
        if size is not None:
            sizes[role] = size
    computed = {role: float(cost.computed(role)) for role in roles}
    return flops.estimate(computed, cost.answers, sizes, cost.pairs)


def _short(model: Any) -> str | None:
    if model is None:
        return None
    text = str(model)
    return Path(text).name if Path(text).is_absolute() or text.startswith(".") else text
