"""What makes two runs the same: which recorded settings must agree on resuming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atts_harness.identity import Change, changes, read_identity
from atts_harness.records import RunRecord

# How fast, how patiently and how visibly a run proceeds, and by which names its models go
# (`ModelIdentity` says what they are); none of it is in a reply.
FREE_SETTINGS = frozenset(
    {
        *("run_dir", "resume", "retry_failed", "progress", "preset"),
        *("extractor", "extractor_concurrency", "extractor_price"),
        *("draft_concurrency", "score_concurrency", "takeover_concurrency"),
        *("target_concurrency", "engine_concurrency", "live_samples"),
        *("retries", "timeout", "sample_timeout", "engine_timeout", "stall_timeout"),
        *("max_failures", "metrics_interval", "draft_price", "target_price"),
        *("backend", "draft_backend", "target_backend", "draft", "target"),
    }
)
# How much of a task is asked for: a run may be continued with more or fewer documents. What its
# provenance and its nominal rate tell is compared piece by piece already.
FREE_OF_A_TASK = frozenset({"problems", "samples", "provenance", "nominal_rate"})
MOST_NAMED = 5


def differences(recorded: RunRecord, asked: RunRecord) -> list[str]:
    """What keeps `asked` from continuing `recorded`, in words; empty if nothing does.

    Tasks that only one of them has are no difference: their samples have keys of their own.
    """
    before, after = _identity(recorded), _identity(asked)
    shared = set(recorded.tasks) & set(asked.tasks)
    for task in shared:
        for name in sorted(set(before["tasks"][task]) | set(after["tasks"][task])):
            before[f"task {task}: {name}"] = before["tasks"][task].get(name)
            after[f"task {task}: {name}"] = after["tasks"][task].get(name)
    del before["tasks"], after["tasks"]
    models = [
        f"models.{who}.{change}"
        for who, change in _models(recorded, asked)
        if change.level == "decides"
    ]
    return [*_unequal("", before, after), *models]


def warnings(recorded: RunRecord, asked: RunRecord) -> list[str]:
    """What of the models is worth a word, and no reason to refuse: a newer engine, say."""
    return [
        f"models.{who}.{change}"
        for who, change in _models(recorded, asked)
        if change.level == "warns"
    ]


def _models(recorded: RunRecord, asked: RunRecord) -> Iterator[tuple[str, Change]]:
    before, after = dict(recorded.roles), dict(asked.roles)
    if recorded.extractor and asked.extractor:  # one may be added to a run, or left out
        before["extractor"], after["extractor"] = recorded.extractor, asked.extractor
    for who in sorted(set(before) & set(after)):
        for change in changes(read_identity(before[who]), read_identity(after[who])):
            yield who, change


def brief(found: list[str]) -> str:
    """Differences as one line."""
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more


def _identity(run: RunRecord) -> dict[str, Any]:
    return {
        "harness version": run.harness,
        "strategy": run.strategy,
        "options": run.options,
        "settings": {k: v for k, v in run.settings.items() if k not in FREE_SETTINGS},
        "roles": sorted(run.roles),
        "tasks": {
            task: {k: v for k, v in told.items() if k not in FREE_OF_A_TASK}
            for task, told in run.tasks.items()
        },
    }


def _unequal(where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        path = f"{where}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _unequal(f"{path}.", old, new)
        elif old != new:
            yield f"{path} was {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
