"""What a run amounts to, in numbers for lm-eval's results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from atts_harness.grading.extraction import LLM
from atts_harness.records import CallTotals, DecisionRecord, SampleRecord
from atts_harness.running.extraction import NOT_EXTRACTED


def summary(
    records: Iterable[SampleRecord], nominal: Mapping[str, float | None]
) -> dict[str, dict[str, Any]]:
    """Run statistics by task.

    Args:
        records: finished samples.
        nominal: by task the nominal takeover rate, None for a strategy without one.

    Returns:
        By task: counts of samples by state and ending; tokens a sample, by who computed or wrote
        them; takeover rates; sums of calls by "role/kind"; seconds from the first sample's start
        to the last one's end; where a model extracted, of how many samples, and for how many that
        failed, and why (its cost is in the run's ledger).
    """
    by_task: dict[str, list[SampleRecord]] = {}
    for record in records:
        by_task.setdefault(record.id.task, []).append(record)
    return {task: _of_task(found, nominal.get(task)) for task, found in by_task.items()}


def _of_task(records: list[SampleRecord], nominal: float | None) -> dict[str, Any]:
    calls: dict[str, CallTotals] = {}
    for record in records:
        for name, totals in record.calls.items():
            calls.setdefault(name, CallTotals()).merge(totals)
    count = len(records)
    return {
        "problems": len({record.id.doc for record in records}),
        "samples": count,
        "failed": sum(record.failed is not None for record in records),
        "truncated": sum(record.truncated for record in records),
        "finish": dict(sorted(Counter(record.finish for record in records).items())),
        "turns_per_sample": sum(record.turns for record in records) / count,
        "takeover": takeover_rates([d for record in records for d in record.decisions], nominal),
        **_extraction(records),
        "tokens_per_sample": tokens_per_sample(records, calls),
        "calls": {name: msgspec.to_builtins(totals) for name, totals in sorted(calls.items())},
        "seconds": max(r.ended for r in records) - min(r.started for r in records),
    }


def _extraction(records: list[SampleRecord]) -> dict[str, Any]:
    notes = [record.notes[NOT_EXTRACTED] for record in records if NOT_EXTRACTED in record.notes]
    done = sum(LLM in record.answers for record in records)
    if not done and not notes:
        return {}
    sums: dict[str, Any] = {"extracted": done, "failed": len(notes)}
    if notes:
        sums["why"] = dict(sorted(Counter(note.partition(":")[0] for note in notes).items()))
    return {"llm_extraction": sums}


def takeover_rates(decisions: list[DecisionRecord], nominal: float | None) -> dict[str, Any]:
    """How often the target took over, against how often it was meant to.

    A takeover that nobody judged (a failed score, an empty draft) is counted apart and stays out
    of the realised rate.
    """
    judged = [d for d in decisions if d.judged]
    apart = Counter(d.reason for d in decisions if not d.judged)
    taken = sum(d.takeover for d in judged)
    return {
        "nominal_rate": nominal,
        "realised_rate": taken / len(judged) if judged else None,
        "judged_turns": len(judged),
        "takeovers": taken,
        "counted_apart": dict(sorted(apart.items())),
    }


def tokens_per_sample(
    records: list[SampleRecord], calls: Mapping[str, CallTotals]
) -> dict[str, float]:
    """Mean tokens a sample.

    `R_computed` is what role R ran a forward pass for: uncached context, scored and written
    tokens. `R_written` is what it generated, kept or not. `kept` counts against the budget.
    """
    count = len(records)
    means: dict[str, float] = {}
    for role in ("draft", "target"):
        own = [totals for name, totals in calls.items() if name.startswith(f"{role}/")]
        means[f"{role}_computed"] = sum(totals.computed_tokens for totals in own) / count
        means[f"{role}_written"] = sum(totals.completion_tokens for totals in own) / count
    means["kept"] = sum(sum(record.kept_tokens.values()) for record in records) / count
    return means
