"""Makes problems from chat messages and generation settings, for every framework's adapter.

lm-eval hands over whole tasks; inspect_ai and an endpoint one question after another. All of them
come through here, so the same messages and settings make the same problem, with the same budget
and the same end, whichever framework asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atts_harness import plugins
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.grading.extraction import Kind, has_answer
from atts_harness.journal.hashing import prompt_hash
from atts_harness.message import Message
from atts_harness.settings import Settings, TaskSampling
from atts_harness.strategy import Problem
from atts_harness.transcript import Prompt

__all__ = ["BUDGET", "Terms", "framing", "make_problem", "terms_of"]

BUDGET = "max_gen_toks"
# Other names of the budget, in the order in which lm-eval prefers them.
BUDGET_ALIASES = ("max_new_tokens", "max_tokens", "max_completion_tokens")
# Settings of other models that requests carry; harmless at these values, refused at others.
NEUTRAL = {
    "num_beams": 1,
    "n": 1,
    "repetition_penalty": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
}


@dataclass(frozen=True)
class Terms:
    """Generation settings of a task or a request, checked.

    Attributes:
        until: strings that end a sample.
        values: sampling, budget and strategy options, as given.
    """

    until: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def terms_of(settings: Mapping[str, Any], source: str) -> Terms:
    """Check generation settings.

    Options of strategies that do not run are accepted: a task may set them for those that do.

    Args:
        settings: by lm-eval's names; None means that a setting is absent.
        source: what they are settings of, for messages.

    Raises:
        SettingError: a value cannot be used.
        UnknownSettingError: a key is unknown; names the nearest.
    """
    values = {k: v for k, v in settings.items() if v is not None}
    until = values.pop("until", [])
    stops = [until] if isinstance(until, str) else until
    if not isinstance(stops, Sequence) or not all(isinstance(stop, str) for stop in stops):
        raise SettingError(f"{source}: until must be a text or a list of texts (got {until!r})")
    for alias in BUDGET_ALIASES:
        if alias in values:
            values.setdefault(BUDGET, values[alias])
            del values[alias]
    for name, neutral in NEUTRAL.items():
        if name in values and values.pop(name) != neutral:
            raise SettingError(f"{source}: {name} is not supported; leave it out or at {neutral}")
    names = {BUDGET, *TaskSampling.__struct_fields__}
    for strategy in plugins.strategies().values():
        names.update(strategy.value.Options.__struct_fields__)
    for name in values:
        if name not in names:
            raise UnknownSettingError(name, [*names, "until"], source=source)
    return Terms(tuple(dict.fromkeys(stop for stop in stops if stop)), values)


def make_problem(
    task: str,
    doc: int,
    messages: Sequence[Message],
    terms: Terms,
    settings: Settings,
    kind: Kind | None = None,
) -> Problem:
    """The problem that chat messages pose.

    Args:
        task: its name, in records and seeds.
        doc: its number there.
        messages: unrendered; a last one of the assistant is continued.
        terms: the task's or the request's.
        settings: the run's; values that are set there explicitly win.
        kind: kind of the answer, if a model extracts it.

    Raises:
        SettingError: the messages are empty, or a value cannot be used.
    """
    if not any(message.content.strip() for message in messages if message.role != "system"):
        raise SettingError(f"task {task}: the prompt of document {doc} is empty")
    options = settings.options(terms.values)
    return Problem(
        task=task,
        doc=doc,
        prompt=Prompt(tuple(messages)),
        until=terms.until,
        answered=has_answer if options.stop_at_answer else None,
        max_tokens=settings.max_tokens(terms.values),
        prompt_hash=prompt_hash(messages),
        sampling=settings.sampling(terms.values),
        kind=kind,
    )


def framing(messages: Sequence[Message]) -> str:
    """Digest of a prompt's frame: the roles in their order and the system message."""
    common = [(m.role, m.content if m.role == "system" else "") for m in messages]
    return hashlib.blake2b(json.dumps(common).encode(), digest_size=8).hexdigest()
