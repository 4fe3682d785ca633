"""Finds the problem and the repeat that a call of the model belongs to.

Seeds depend on these names, and recorded results are found by them. inspect_ai gives a provider
only messages, so the name comes from the sample that is being run:

- task: `metadata["atts"]["task"]` of the sample, else the name of the inspect_ai task;
- document: `metadata["atts"]["doc"]`, else the sample's id where it is an integer of 0 or more,
  else a digest of the id;
- repeat: the epoch, counted from 0.

A sample's first call is the sample. Every later one (a solver that asks again, a grader that is
the same model) is a problem of its own: task `NAME#later`, its document a digest of the sample's
document and of the messages, so that its name does not depend on the order of calls. A call outside
an evaluation is of task `inspect`, its document a digest of the messages, its repeat the next one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.journal.hashing import prompt_hash
from atts_harness.message import Message

KEY = "atts"
"""Of a sample's metadata."""
ALONE = "inspect"
LATER = "#later"
FIELDS = ("task", "doc", "kind", "wording", "generation")


@dataclass(frozen=True)
class SampleRequest:
    """The sample that a call belongs to.

    Attributes:
        task: name of the problem's task.
        doc: number of its document.
        repeat: which sample of it; None: the next.
        generation: the task's generation settings, by lm-eval's names.
        kind: what sort of answer is asked for, where a model extracts it.
        wording: digest of how the task words its prompts.
    """

    task: str
    doc: int
    repeat: int | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "maths"
    wording: str | None = None


class Names:
    """Names calls; remembers which samples have made their first call."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Any, Counter[str]] = WeakKeyDictionary()

    def name(self, running: Any, messages: Sequence[Message]) -> SampleRequest:
        """The name of a call.

        Args:
            running: the sample that is being run (`upstream.running_sample`), or None.
            messages: what is asked.

        Raises:
            SettingError: metadata that cannot be used.
        """
        prompt = prompt_hash(messages)
        if running is None:
            return SampleRequest(ALONE, digest(prompt))
        fields = read_metadata(running.sample.metadata or {})
        task = str(fields.get("task") or running.task)
        doc = fields.get("doc", running.sample.id)
        number = doc if type(doc) is int and doc >= 0 else digest(str(doc))
        first = SampleRequest(
            task,
            number,
            repeat=int(running.epoch) - 1,
            generation=fields.get("generation") or {},
            kind=str(fields.get("kind") or "maths"),
            wording=fields.get("wording"),
        )
        before = self._asked.setdefault(running, Counter())
        again, before[prompt] = before[prompt], before[prompt] + 1
        if before.total() == 1:
            return first
        doc = digest(f"{number}/{prompt}/{again}")
        return replace(first, task=task + LATER, doc=doc, wording=None)


def read_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the fields for this provider from a sample's metadata.

    Raises:
        SettingError: they are not a mapping, or have an unknown field.
    """
    fields = metadata.get(KEY) or {}
    place = f"metadata[{KEY!r}] of the sample"
    if not isinstance(fields, Mapping) or not isinstance(fields.get("generation") or {}, Mapping):
        raise SettingError(f"{place}: give a mapping with {', '.join(FIELDS)}")
    for name in fields:
        if name not in FIELDS:
            raise UnknownSettingError(str(name), FIELDS, source=place)
    return fields


def digest(text: str) -> int:
    """A number for a text, the same on every machine, that any database takes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())
