"""What a bank's scores depend on. A bank made with anything else says nothing about a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from atts_harness import neutral
from atts_harness.differences import BANK_RUN, Difference, brief, words_of_difference
from atts_harness.errors import SettingError
from atts_harness.identity import changes, read_identity

logger = neutral.logger("atts_harness.conformal")

_NAMED = 3


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a first or later draft's score depends on. None: not known, not compared.

    Attributes:
        task: task name.
        prompt: fingerprint of the prompts' frame: their roles and the system's words.
        wording: fingerprint of how the task words its prompts (not of single questions): template,
            description, few-shot examples. Banks of early releases do not have it.
        draft: the draft model, by name and a short digest.
        target: the target model.
        draft_identity: the draft's `ModelIdentity`, as plain data; early banks do not have it.
        target_identity: the target's.
        draft_template: fingerprint of the draft's tokenizer and chat template.
        target_template: fingerprint of the target's.
        score_template: `chat` or `raw`.
        draft_temperature: what drafts are drawn with.
        draft_top_p: likewise.
        draft_top_k: likewise.
        draft_min_p: likewise.
        draft_tokens: most tokens of a draft.
        stop: strings that end a draft.
        target_temperature: what takeovers are drawn with; matters from turn 1 on.
        target_tokens: most tokens of a takeover; likewise.
        on_reject: what a takeover does with the draft; likewise.
        signal: what the scores are, if they are not the target's perplexities (`signals`).
    """

    task: str | None = None
    prompt: str | None = None
    wording: str | None = None
    draft: str | None = None
    target: str | None = None
    draft_identity: dict[str, Any] | None = None
    target_identity: dict[str, Any] | None = None
    draft_template: str | None = None
    target_template: str | None = None
    score_template: str | None = None
    draft_temperature: float | None = None
    draft_top_p: float | None = None
    draft_top_k: int | None = None
    draft_min_p: float | None = None
    draft_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    target_temperature: float | None = None
    target_tokens: int | None = None
    on_reject: str | None = None
    signal: str | None = None


MEANING = {
    "prompt": "roles or the system's words",
    "wording": "the task's template, description or few-shot examples",
    "draft_template": "the draft's tokenizer or chat template",
    "target_template": "the target's tokenizer or chat template",
}
"""What a fingerprint stands for, in messages."""

PUBLISHED_SIGNAL = "perplexity"
"""The signal of a bank or run that names none."""

IDENTITIES = frozenset({"draft_identity", "target_identity"})

LATER_TURNS = frozenset({"target_temperature", "target_tokens", "on_reject"})
"""Fields that first drafts do not depend on."""


def fingerprint(*parts: str) -> str:
    """A short digest of texts: 16 hexadecimal digits, the same on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]


def of_run(provenance: Mapping[str, Any], task: str) -> Provenance:
    """The provenance of a run's scores on a task.

    Args:
        provenance: `RunInfo.provenance`: fields of `Provenance`; other keys are ignored.
        task: which task.

    Raises:
        SettingError: a field of another type.
    """
    try:
        return msgspec.convert({**provenance, "task": task}, Provenance)
    except msgspec.ValidationError as error:
        raise SettingError(f"provenance of task {task}: {error}") from error


def check(bank: Provenance, run: Provenance, source: str, *, first_turns_only: bool) -> None:
    """Refuse a bank that was made with something else.

    Args:
        bank: the bank's.
        run: the run's.
        source: the bank's file, for the message.
        first_turns_only: whether the bank has first drafts only, which takeovers cannot change.

    Raises:
        SettingError: names the first differences.
    """
    differences = []
    compared = set()
    for role in ("draft", "target"):
        theirs, ours = getattr(bank, f"{role}_identity"), getattr(run, f"{role}_identity")
        if theirs is None or ours is None:
            continue
        compared |= {role, f"{role}_identity"}
        for change in changes(read_identity(theirs), read_identity(ours)):
            if change.level == "decides":
                name = f"the {role}'s {change.name}"
                differences.append(words_of_difference(name, change.before, change.after, BANK_RUN))
            elif change.level == "warns":
                logger.warning("bank=%s: the %s's %s", source, role, change)
    for name in Provenance.__struct_fields__:
        theirs, ours = getattr(bank, name), getattr(run, name)
        if name == "signal":
            theirs, ours = theirs or PUBLISHED_SIGNAL, ours or PUBLISHED_SIGNAL
        if name in compared or name in IDENTITIES or None in (theirs, ours):
            continue
        if first_turns_only and name in LATER_TURNS:
            continue
        if theirs != ours:
            meaning = f" ({MEANING[name]})" if name in MEANING else ""
            differences.append(Difference(name, theirs, ours).words(BANK_RUN) + meaning)
    if differences:
        raise SettingError(
            f"bank={source} was made with other settings: {brief(differences, _NAMED)}; "
            "make one for this run with `atts calibrate`, or use calibration=online"
        )


def says_more_than_task(provenance: Provenance) -> bool:
    """Whether anything but the task is known."""
    return any(
        getattr(provenance, name) is not None
        for name in Provenance.__struct_fields__
        if name != "task"
    )
