"""Which recorded settings must agree for a run to be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from atts_harness.differences import unequal
from atts_harness.identity import Change, changes, read_identity
from atts_harness.journal.plan import VARIES
from atts_harness.records import RunRecord
from atts_harness.settings import RunOptions

REPLIES = 1
"""Version of replies. A release counts it up if the same settings lead to other requests or other
samples in it; it then refuses to continue runs of earlier versions."""
# Settings that cannot change a reply, so they may change on resume. Models' names are among them:
# `ModelIdentity` says what the models are.
FREE_SETTINGS = frozenset(
    {
        *("run_dir", "resume", "retry_failed", "progress", "preset"),
        *("extractor", "extractor_concurrency", "extractor_price"),
        *("draft_concurrency", "score_concurrency", "takeover_concurrency"),
        *("target_concurrency", "engine_concurrency", "live_samples"),
        *("retries", "timeout", "sample_timeout", "engine_timeout", "stall_timeout"),
        *("max_failures", "max_unjudged", "metrics_interval", "draft_price", "target_price"),
        *("backend", "draft_backend", "target_backend", "draft", "target"),
    }
)
# The size of a task: a run may be continued with more or fewer documents. The contents of its
# provenance and its nominal rate are compared elsewhere, field by field.
FREE_OF_A_TASK = frozenset({"problems", "samples", "documents", "provenance", "nominal_rate"})


def differences(
    recorded: RunRecord, requested: RunRecord, defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """What keeps `requested` from continuing `recorded`, in words; empty if nothing does.

    A task that only one of them has is not a difference: its samples have keys of their own. A
    setting that is newer than the recorded run counts as its default: a release in which the
    default changes replies counts `REPLIES` up.

    Args:
        recorded: what was run.
        requested: what is to be run.
        defaults: of the strategy's options.
    """
    before, after = _identity(recorded, defaults or {}), _identity(requested, defaults or {})
    shared = set(recorded.tasks) & set(requested.tasks)
    for task in shared:
        old, new = before["tasks"][task], after["tasks"][task]
        for name in sorted(set(old) | set(new)):
            if VARIES not in (old.get(name), new.get(name)):
                before[f"task {task}: {name}"] = old.get(name)
                after[f"task {task}: {name}"] = new.get(name)
    del before["tasks"], after["tasks"]
    models = [
        f"models.{who}.{change}"
        for who, change in _models(recorded, requested)
        if change.level == "decides"
    ]
    return [*(change.words() for change in unequal(before, after)), *models]


def warnings(recorded: RunRecord, requested: RunRecord) -> list[str]:
    """Differences between models that only need a warning, such as a newer engine."""
    return [
        f"models.{who}.{change}"
        for who, change in _models(recorded, requested)
        if change.level == "warns"
    ]


def _models(recorded: RunRecord, requested: RunRecord) -> Iterator[tuple[str, Change]]:
    before, after = dict(recorded.roles), dict(requested.roles)
    if recorded.extractor and requested.extractor:  # one may be added to a run, or left out
        before["extractor"], after["extractor"] = recorded.extractor, requested.extractor
    for who in sorted(set(before) & set(after)):
        for change in changes(read_identity(before[who]), read_identity(after[who])):
            yield who, change


def defaults_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a struct's fields, by name, as records hold them."""
    return {
        field.name: msgspec.to_builtins(field.default)
        for field in msgspec.structs.fields(kind)
        if field.default is not msgspec.NODEFAULT
    }


def _identity(run: RunRecord, defaults: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**defaults_of(RunOptions), **run.settings}
    tasks = {
        task: {k: v for k, v in entry.items() if k not in FREE_OF_A_TASK}
        for task, entry in run.tasks.items()
    }
    for entry in tasks.values():
        if entry.get("options"):  # an early release left them out for some strategies
            entry["options"] = {**defaults, **entry["options"]}
        elif "options" in entry:
            entry["options"] = VARIES
    return {
        "version of replies": run.replies,
        "strategy": run.strategy,
        "options": {**defaults, **run.options},
        "settings": {k: v for k, v in settings.items() if k not in FREE_SETTINGS},
        "roles": sorted(run.roles),
        "tasks": tasks,
    }
