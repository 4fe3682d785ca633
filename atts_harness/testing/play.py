r"""Play a strategy against scripts: the shortest way to a golden trace.

    played = play(MyStrategy, draft=["So 22.", "\boxed{22}"], target=["Wait."], scores=[0.3, 2.0])
    assert played.trace() == ["draft 0: So 22.", ...]

The strategy runs as in a real run: the same contexts, limits, retries and records.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atts_harness.backend import Backend, Role
from atts_harness.grading.extraction import Kind
from atts_harness.journal.contract import Journal, MemoryJournal
from atts_harness.records import CallRecord, SampleId, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.running.opening import check_contexts
from atts_harness.settings import RunOptions, struct_from
from atts_harness.strategy import Group, Problem, RunInfo, Sample, Strategy
from atts_harness.testing.scripted import (
    ByteTokenizer,
    Replies,
    Scores,
    ScriptedBackend,
    ScriptedRequest,
    ScriptError,
)
from atts_harness.transcript import Message, Prompt

BOXED = re.compile(r"\\boxed\{[^{}]*\}")


@dataclass(frozen=True)
class Played:
    """What a played strategy did.

    Attributes:
        records: one a sample.
        calls: every call, in the order in which the replies came.
        draft: the draft's backend, with the requests that it got.
        target: the target's.
    """

    records: list[SampleRecord]
    calls: list[CallRecord]
    draft: ScriptedBackend
    target: ScriptedBackend
    _again: Callable[..., Played] = field(repr=False, compare=False)

    @property
    def record(self) -> SampleRecord:
        """The only sample's record."""
        (record,) = self.records
        return record

    def trace(self) -> list[str]:
        """The only sample's segments, `kind turn: text`; discarded ones in parentheses."""
        lines = [f"{s.kind} {s.turn}: {s.text}" for s in self.record.segments]
        kept_flags = [s.kept for s in self.record.segments]
        return [line if k else f"({line})" for line, k in zip(lines, kept_flags, strict=True)]

    def called(self) -> list[str]:
        """Every call as `role/kind turn`, and `.attempt` where there are several."""
        keys = [record.key for record in self.calls]
        return [
            f"{k.role}/{k.kind} {k.turn}" + (f".{k.attempt}" if k.attempt else "") for k in keys
        ]

    def took_over(self) -> list[bool]:
        """The only sample's decisions, turn by turn."""
        return [decision.takeover for decision in self.record.decisions]

    def resumed(self) -> Played:
        """Play again from the journal, as a run does that died just before its samples ended.

        The same code runs, its calls are answered from the journal, and its decisions come back.
        So the trace is the same for every strategy that decides by nothing else than its sample,
        the replies and the context's seeded draws.

        Raises:
            JournalMismatchError: a call differs from the recorded one; names the difference.
            ScriptError: it makes a call that was not made before.
        """
        journal = MemoryJournal()
        for call in self.calls:
            asyncio.run(journal.record_call(call))
        decisions = [decision for record in self.records for decision in record.decisions]
        for decision in sorted(decisions, key=lambda decision: decision.sequence):
            journal.record_decision(decision)
        return self._again(
            draft=_not_recorded, target=_not_recorded, scores=_not_recorded, journal=journal
        )


def _not_recorded(request: ScriptedRequest) -> str:
    raise ScriptError(
        f"{request.role}: the resumed strategy makes a call that it did not make before; "
        f"its context ends {request.text[-60:]!r}"
    )


def play(
    strategy: type[Strategy],
    options: Mapping[str, Any] | None = None,
    *,
    draft: Replies = (),
    target: Replies = (),
    scores: Scores = (),
    draft_tokenizer: ByteTokenizer | None = None,
    target_tokenizer: ByteTokenizer | None = None,
    repeats: int = 1,
    prompt: str = "Q",
    until: Sequence[str] = (),
    answered: Callable[[str], bool] | None = lambda text: BOXED.search(text) is not None,
    max_tokens: int = 8192,
    kind: Kind | None = "maths",
    seed: int = 0,
    retries: int = 0,
    provenance: Mapping[str, Any] | None = None,
    extractor: str = "boxed",
    journal: Journal | None = None,
) -> Played:
    r"""Run one problem.

    Args:
        strategy: its class.
        options: its options, as in `model_args`.
        draft: replies of the draft: texts, `Says`, errors, or a function of the request. An error
            is a `BackendError`, such as `BadRequestError`; any other is a bug and ends the test.
        target: replies of the target, likewise.
        scores: scores of the target, in nats per token, or errors.
        draft_tokenizer: byte-level unless given.
        target_tokenizer: the same.
        repeats: samples of the problem. Scripts are one list for all; functions tell them apart.
        prompt: the user's message.
        until: strings that end a sample.
        answered: tells whether text holds an answer; by default a closed `\boxed{...}`.
        max_tokens: budget of kept tokens.
        kind: kind of the answer.
        seed: the run's.
        retries: tries after the first.
        provenance: the run's provenance, for the strategy.
        extractor: its answers are graded.
        journal: where to record, and to replay from.

    Raises:
        SettingError: an option cannot be used.
    """
    again = functools.partial(
        play,
        strategy,
        options,
        draft_tokenizer=draft_tokenizer,
        target_tokenizer=target_tokenizer,
        repeats=repeats,
        prompt=prompt,
        until=until,
        answered=answered,
        max_tokens=max_tokens,
        kind=kind,
        seed=seed,
        retries=retries,
        provenance=provenance,
        extractor=extractor,
    )
    strategy = strategy.made_for(options or {})
    backends = {
        "draft": ScriptedBackend(draft, (), "draft", draft_tokenizer or ByteTokenizer()),
        "target": ScriptedBackend(target, scores, "target", target_tokenizer or ByteTokenizer()),
    }
    roles: dict[Role, Backend] = {role: backends[role] for role in strategy.roles}
    info = RunInfo(
        seed=seed,
        provenance=provenance or {},
        tokenizers={role: backend.tokenizer for role, backend in roles.items()},
        extractor=extractor,
    )
    checked_options = struct_from(strategy.Options, options or {}, strategy.name).checked()
    instance = strategy(checked_options, info)
    problem = Problem(
        task="played",
        doc=0,
        prompt=Prompt((Message("user", prompt),)),
        until=tuple(until),
        answered=answered if checked_options.stop_at_answer else None,
        max_tokens=max_tokens,
        kind=kind,
    )
    samples = tuple(Sample(SampleId("played", 0, n), problem) for n in range(repeats))
    check_contexts([Group(problem, samples, instance)], roles)
    calls: list[CallRecord] = []
    records = asyncio.run(
        run_groups(
            [Group(problem, samples, instance)],
            roles,
            RunOptions(seed=seed, retries=retries),
            journal or MemoryJournal(),
            Observers(call=[calls.append]),
        )
    )
    return Played(records, calls, backends["draft"], backends["target"], again)
