"""What has to agree before rows may stand side by side, and the difference in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from atts_harness.analysis.leaderboard.rows import Conditions
from atts_harness.conformal.provenance import fingerprint
from atts_harness.results.entries import Entry

PROMPT_FIELDS = (
    *("doc_to_text", "description", "gen_prefix", "fewshot_config", "num_fewshot"),
    *("fewshot_delimiter", "target_delimiter"),
)
"""Of a task's configuration in lm-eval's results: what its prompts are made with."""
BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
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


def of_results(
    data: Mapping[str, Any], task: str, record: Mapping[str, Any], entry: Entry | None
) -> Conditions:
    """The conditions of a task in lm-eval's results.

    Args:
        data: the results.
        task: which task.
        record: the run record of one of our models; empty for another model.
        entry: its graded samples, if there is a sample log.
    """
    config: Mapping[str, Any] = data["configs"][task]
    made = {name: config.get(name) for name in PROMPT_FIELDS}
    made["system"] = data.get("system_instruction")
    version = data.get("versions", {}).get(task)
    given = config.get("generation_kwargs") or {}
    told = {
        "version": None if version is None else str(version),
        "prompt": fingerprint(json.dumps(made, sort_keys=True, default=str)),
        "documents": documents_of(entry),
    }
    if record:
        return of_record(record, task, **told, config=config)
    budget = next((given[name] for name in BUDGETS if isinstance(given.get(name), int)), None)
    return Conditions(
        **told,
        template="chat" if data.get("chat_template") else "raw",
        sampling={MODEL: _sampling_of(given)},
        budget=budget,
        until=_texts(given.get("until")),
        extractor=None if entry is None else "boxed",
    )


def of_record(
    record: Mapping[str, Any],
    task: str,
    *,
    version: str | None = None,
    prompt: str | None = None,
    documents: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Conditions:
    """The conditions of a task of one of our runs; version and prompt are lm-eval's to tell."""
    own = record["tasks"].get(task, {})
    sampling = own.get("sampling", {})
    metadata = (config or {}).get("metadata") or {}
    extractor = metadata.get("extractor") or record.get("settings", {}).get("extractor")
    return Conditions(
        version=version,
        prompt=prompt,
        template="chat",
        documents=documents,
        sampling={
            role: dict(sampling[role]) for role in record.get("roles", {}) if role in sampling
        },
        budget=own.get("max_tokens"),
        until=_texts(own.get("until")),
        extractor=str(extractor).partition("+")[0] if extractor else None,
    )


def documents_of(entry: Entry | None) -> str | None:
    """Fingerprint of questions and golds; None where they are not known."""
    if entry is None:
        return None
    keys = [f"{doc}:{entry.questions[doc].key}" for doc in sorted(entry.questions)]
    return fingerprint(*keys)


def differences(
    ours: Conditions,
    theirs: Conditions,
    our_entry: Entry | None = None,
    their_entry: Entry | None = None,
) -> tuple[str, ...]:
    """Why a row may not stand beside another, in words; empty if it may.

    What one of them did not record is not compared.

    Args:
        ours: of the row.
        theirs: of what it would stand beside.
        our_entry: the row's samples, to say how its questions differ.
        their_entry: the other's.
    """
    return tuple(_differences(ours, theirs, our_entry, their_entry))


def unknown(conditions: Conditions) -> tuple[str, ...]:
    """What was not recorded, so that nobody can tell whether it agrees."""
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
            for own in conditions.sampling.values()
            for name in PARAMETERS
            if own.get(name) is None and own.get("temperature") != GREEDY
        }
    )
    return tuple(lacking + silent)


def _differences(
    ours: Conditions, theirs: Conditions, our_entry: Entry | None, their_entry: Entry | None
) -> Iterator[str]:
    for field, name in NAMES.items():
        mine, other = getattr(ours, field), getattr(theirs, field)
        if mine is None or other is None or mine == other:
            continue
        if field == "prompt":
            yield f"{name} differs"
        elif field == "until":
            yield f"{name}: {_quoted(mine)}, there {_quoted(other)}"
        else:
            yield f"{name} {mine}, there {other}"
    yield from _sampling_differences(ours.sampling, theirs.sampling)
    if None not in (ours.documents, theirs.documents) and ours.documents != theirs.documents:
        yield _other_documents(our_entry, their_entry)


def _sampling_differences(
    ours: Mapping[str, Mapping[str, float | None]], theirs: Mapping[str, Mapping[str, float | None]]
) -> Iterator[str]:
    said: set[str] = set()
    for role, mine in ours.items():
        for other_role, other in theirs.items():
            if role != other_role and MODEL not in (role, other_role):
                continue
            greedy = mine.get("temperature") == other.get("temperature") == GREEDY
            for name in ("temperature",) if greedy else PARAMETERS:
                one, two = mine.get(name), other.get(name)
                if one is not None and two is not None and one != two:
                    shown = role if role != MODEL else other_role
                    words = f"sampling: {shown} {name} {one:g}, there {two:g}"
                    if words not in said:
                        said.add(words)
                        yield words


def _other_documents(ours: Entry | None, theirs: Entry | None) -> str:
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


def _sampling_of(given: Mapping[str, Any]) -> dict[str, float | None]:
    """lm-eval's own models are greedy unless `do_sample` or a temperature says otherwise."""
    temperature = given.get("temperature")
    sampled = given.get("do_sample", bool(temperature))
    if not sampled or temperature == 0:
        return {"temperature": GREEDY}
    return {name: _number(given.get(name)) for name in PARAMETERS}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _texts(until: Any) -> tuple[str, ...] | None:
    if until is None:
        return None
    return (until,) if isinstance(until, str) else tuple(sorted(map(str, until)))


def _quoted(texts: Sequence[str]) -> str:
    return " ".join(map(repr, texts)) or "none"
