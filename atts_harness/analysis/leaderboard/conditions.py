"""The conditions that must agree before rows may stand side by side; differences in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.conformal.provenance import fingerprint
from atts_harness.differences import HERE_THERE, words_of_difference
from atts_harness.identity import decisive, read_identity
from atts_harness.records import RunRecord
from atts_harness.results.values import Conditions, TaskResults

MODEL = "model"
GREEDY = 0.0
PARAMETERS = ("temperature", "top_p", "top_k", "min_p")

# Where a field of `Conditions` differs, what differs in words.
NAMES = {
    "version": "task version",
    "prompt": "prompt (task wording, few-shot examples or system message)",
    "template": "prompt template",
    "budget": "budget",
    "until": "texts that end a sample",
    "extractor": "extractor that is graded",
}


def of_row(
    results: TaskResults | None, run: RunRecord | None, task: str, samples: RowSamples | None
) -> Conditions:
    """The conditions of a row.

    Args:
        results: what lm-eval's results say of the task, if there are any.
        run: the run record of one of our models; None for another model.
        task: which task.
        samples: its graded samples, where they are known.
    """
    documents = documents_of(samples)
    recorded = Conditions() if results is None else results.conditions
    if run is None:
        return msgspec.structs.replace(recorded, documents=documents)
    settings: Mapping[str, Any] = run.tasks.get(task, {})
    sampling = settings.get("sampling", {})
    until = settings.get("until")
    extractor: str | None = (
        recorded.extractor or str(run.settings.get("extractor") or "").partition("+")[0]
    )
    if results is not None and not results.graded_here:
        extractor = recorded.extractor  # its own metric, if it has one
    return msgspec.structs.replace(
        recorded,
        documents=documents,
        template="chat",
        sampling={role: dict(sampling[role]) for role in run.roles if role in sampling},
        budget=settings.get("max_tokens"),
        until=None if until is None else tuple(sorted(map(str, until))),
        extractor=extractor or None,
        models={role: _portable(identity) for role, identity in run.roles.items()},
    )


def documents_of(samples: RowSamples | None) -> str | None:
    """Fingerprint of questions and golds; None where they are not known."""
    if samples is None:
        return None
    keys = [f"{doc}:{samples.questions[doc].key}" for doc in sorted(samples.questions)]
    return fingerprint(*keys)


def differences(
    ours: Conditions,
    theirs: Conditions,
    our_samples: RowSamples | None = None,
    their_samples: RowSamples | None = None,
) -> tuple[str, ...]:
    """Why a row may not stand beside another, in words; empty if it may.

    A condition that one of them did not record is not compared.

    Args:
        ours: of the row.
        theirs: of the row that it would stand beside.
        our_samples: the row's samples, to say how its questions differ.
        their_samples: the other's.
    """
    return tuple(_differences(ours, theirs, our_samples, their_samples))


def unknown(conditions: Conditions) -> tuple[str, ...]:
    """Conditions that were not recorded, so that they cannot be compared."""
    lacking = [
        name.partition(" (")[0]
        for field, name in NAMES.items()
        if getattr(conditions, field) is None
    ]
    if conditions.documents is None:
        lacking.append("questions")
    silent = sorted(
        {
            name
            for parameters in conditions.sampling.values()
            for name in PARAMETERS
            if parameters.get(name) is None and parameters.get("temperature") != GREEDY
        }
    )
    return tuple(lacking + silent)


def _differences(
    ours: Conditions,
    theirs: Conditions,
    our_samples: RowSamples | None,
    their_samples: RowSamples | None,
) -> Iterator[str]:
    for field, name in NAMES.items():
        mine, other = getattr(ours, field), getattr(theirs, field)
        if mine is None or other is None or mine == other:
            continue
        if field == "prompt":
            yield f"{name} differs"
        elif field == "until":
            yield words_of_difference(f"{name}:", _quoted(mine), _quoted(other), HERE_THERE)
        else:
            yield words_of_difference(name, str(mine), str(other), HERE_THERE)
    yield from _sampling_differences(ours.sampling, theirs.sampling)
    yield from _model_differences(ours.models, theirs.models)
    if None not in (ours.documents, theirs.documents) and ours.documents != theirs.documents:
        yield _other_documents(our_samples, their_samples)


def _portable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A model's identity without the place and time of its server."""
    identity = read_identity(record)
    return msgspec.structs.replace(identity, server={}, started=None, probe=None).record()


def _model_differences(
    ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Different models under one name. Rows of two differently named pairs may be compared."""
    for role in sorted(ours.keys() & theirs.keys()):
        mine, other = read_identity(ours[role]), read_identity(theirs[role])
        if _last(mine.model) != _last(other.model):
            continue
        for change in decisive(other, mine):
            if change.name != "model":  # a path here, a hub id there
                yield f"{role} of one name: {change.name} {change.after}, there {change.before}"


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].lower()


def _sampling_differences(
    ours: Mapping[str, Mapping[str, float | None]], theirs: Mapping[str, Mapping[str, float | None]]
) -> Iterator[str]:
    reported: set[str] = set()
    for role, mine in ours.items():
        for other_role, other in theirs.items():
            if role != other_role and MODEL not in (role, other_role):
                continue
            greedy = mine.get("temperature") == other.get("temperature") == GREEDY
            for name in ("temperature",) if greedy else PARAMETERS:
                our_value, their_value = mine.get(name), other.get(name)
                if our_value is not None and their_value is not None and our_value != their_value:
                    name_of_role = role if role != MODEL else other_role
                    words = words_of_difference(
                        f"sampling: {name_of_role} {name}",
                        f"{our_value:g}",
                        f"{their_value:g}",
                        HERE_THERE,
                    )
                    if words not in reported:
                        reported.add(words)
                        yield words


def _other_documents(ours: RowSamples | None, theirs: RowSamples | None) -> str:
    if ours is None or theirs is None:
        return "questions differ"
    shared = ours.questions.keys() & theirs.questions.keys()
    changed = sum(ours.questions[d].key != theirs.questions[d].key for d in shared)
    if changed:
        return (
            f"two tasks under one name: {changed} of {len(shared)} questions with the same number "
            "differ in question or gold"
        )
    mine, other = len(ours.questions), len(theirs.questions)
    return f"{mine} questions, there {other}, of which {len(shared)} are the same"


def _quoted(texts: Sequence[str]) -> str:
    return " ".join(map(repr, texts)) or "none"
