"""The plan of a run: each sample's question, budget and generation settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from atts_harness.journal.hashing import documents_hash
from atts_harness.records import SampleId
from atts_harness.strategy import Group

PARTS = ("until", "sampling", "strategy and options")
VARIES = "varies by problem"
"""Value of a task's entry in which its problems differ; each problem is then compared by itself."""

encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Planned(NamedTuple):
    """What a run asks for in one sample.

    Attributes:
        prompt: digest of the chat messages (`hashing.prompt_hash`).
        budget: most kept tokens; None if an early release recorded the run.
        terms: digests of what else decides its text, one for each of `PARTS`; None likewise.
    """

    prompt: str
    budget: int | None = None
    terms: str | None = None

    def difference(self, requested: Planned) -> str:
        """What differs between this and what is requested now, in words; empty if nothing does."""
        if requested.prompt != self.prompt:
            return (
                "the prompt differs from the recorded one (other task files, few-shot examples, "
                "system instruction or chat messages)"
            )
        if None not in (self.budget, requested.budget) and self.budget != requested.budget:
            return f"the budget was {self.budget} tokens, now {requested.budget}"
        if self.terms is None or requested.terms is None:
            return ""
        before, after = self.terms.split(":"), requested.terms.split(":")
        names = [n for n, old, new in zip(PARTS, before, after, strict=True) if old != new]
        return f"{' and '.join(names)} differ from what was recorded" if names else ""


def planned(groups: Iterable[Group]) -> dict[SampleId, Planned]:
    """What groups ask for, by sample."""
    by_sample: dict[SampleId, Planned] = {}
    for group in groups:
        problem = group.problem
        terms = (
            list(problem.until),
            {role: _given(sampling) for role, sampling in problem.sampling.items()},
            [group.strategy.name, _given(group.strategy.options)],
        )
        entry = Planned(problem.prompt_hash, problem.max_tokens, ":".join(map(_digest, terms)))
        by_sample |= {sample.id: entry for sample in group.samples}
    return by_sample


def task_entry(groups: Sequence[Group], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a task in a run's record.

    Args:
        groups: all of the task's.
        provenance: what its scores depend on, as a bank made from the run will have to say.
    """
    entry: dict[str, Any] = {}
    for group in groups:
        problem = group.problem
        terms = {
            "max_tokens": problem.max_tokens,
            "until": list(problem.until),
            "sampling": {role: msgspec.to_builtins(s) for role, s in problem.sampling.items()},
            "options": msgspec.to_builtins(group.strategy.options),
            "nominal_rate": group.strategy.nominal_rate,
        }
        if not entry:
            entry = terms
        elif entry != terms:
            entry |= {k: VARIES for k, v in terms.items() if entry[k] != v}
    return {
        "problems": len(groups),
        "samples": sum(len(group.samples) for group in groups),
        "documents": documents_hash([group.problem.prompt_hash for group in groups]),
        **entry,
        "provenance": dict(provenance),
    }


def _given(struct: msgspec.Struct) -> dict[str, Any]:
    """Fields that are not at their defaults: a later release may have more of them."""
    return {
        name: msgspec.to_builtins(value)
        for name, default in _defaults(type(struct))
        if (value := getattr(struct, name)) != default
    }


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a struct's fields; cached, for a session needs them each sample."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind))


def _digest(value: Any) -> str:
    return hashlib.blake2b(encode(value), digest_size=4).hexdigest()
