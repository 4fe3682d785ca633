"""Records of a run: the versioned schema that journal, ledger, graders and reports read.

Times are seconds since the run's start on a monotonic clock; tokens are the engine's own counts.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from atts_harness.backend import GenerateReply, Role, ScoreReply, Usage

__all__ = [
    "ABSENT",
    "EXTRACTOR",
    "JUDGED",
    "NOT_EXTRACTED",
    "SCHEMA_VERSION",
    "CallFigures",
    "CallKey",
    "CallRecord",
    "CallRole",
    "CallTotals",
    "CountedCall",
    "DecisionRecord",
    "Fault",
    "Finish",
    "Reason",
    "ReplyFigures",
    "RunRecord",
    "SampleFigures",
    "SampleId",
    "SampleRecord",
    "SegmentRecord",
]

SCHEMA_VERSION = 3
"""Version of these records. 2: `RunRecord.replies`, tasks with `nominal_rate`. 3: samples that a
vote did not draw or stopped, and `SampleFigures.weight`."""

Finish = Literal[
    "answer",
    "until",
    "eos",
    "turns",
    "budget",
    "context",
    "strategy",
    "failed",
    "not-drawn",
    "stopped",
]
"""Why a sample ended. `budget`, `turns` and `context` without an answer mean truncated. `not-drawn`
and `stopped`: a vote did not need the sample, or gave it up; it is neither wrong nor failed."""

ABSENT: frozenset[str] = frozenset({"not-drawn", "stopped"})
"""Endings without an answer: such samples have a cost and are not graded."""

NOT_EXTRACTED = "llm extraction"
"""Key of a sample's note that says why no model extracted its answer."""

EXTRACTOR: Literal["extractor"] = "extractor"
CallRole = Role | Literal["extractor"]
"""Role of a call: one of the strategy's, or the model that extracts answers when samples end."""

Reason = Literal["p-value", "policy", "score-failed", "empty-draft"]
JUDGED: frozenset[Reason] = frozenset({"p-value", "policy"})
"""Reasons of decisions that a policy made; the others are takeovers without a judgement."""


class SampleId(msgspec.Struct, frozen=True, order=True):
    """One repeat of one problem."""

    task: str
    doc: int
    repeat: int


class CallKey(msgspec.Struct, frozen=True, order=True):
    """Identifies a call. Keys do not depend on call order, because a sample's calls may overlap."""

    sample: SampleId
    kind: str
    role: CallRole
    turn: int
    attempt: int = 0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a call that failed: the error's type and message, and when."""

    error: str
    message: str = ""
    sent: float = 0.0
    done: float = 0.0


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a backend, with everything needed to replay it and to account for it.

    Attributes:
        key: identifies the call.
        request_hash: digest of everything that determines the reply.
        seed: the request's.
        reply: None if the call failed for good.
        error: type and message, if it failed for good.
        retries: tries before this outcome.
        queued: when the sample asked.
        sent: when a slot was free and the request went out (last try).
        done: when the reply was there.
        faults: the tries that failed, in order; the last of them is the outcome if `error` is set.
    """

    key: CallKey
    request_hash: str
    seed: int | None = None
    reply: GenerateReply | ScoreReply | None = None
    error: str | None = None
    retries: int = 0
    queued: float = 0.0
    sent: float = 0.0
    done: float = 0.0
    faults: tuple[Fault, ...] = ()

    @property
    def usage(self) -> Usage | None:
        """The reply's usage."""
        return None if self.reply is None else self.reply.usage


class ReplyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a reply, without its contents."""

    usage: Usage


class CallFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A `CallRecord` without request and reply: what it cost, and when.

    A recorded call takes some 20 kB in memory, its figures less than 1 kB. Whoever adds up calls
    takes either (`CountedCall`).
    """

    key: CallKey
    reply: ReplyFigures | None = None
    error: str | None = None
    retries: int = 0
    queued: float = 0.0
    sent: float = 0.0
    done: float = 0.0
    faults: tuple[Fault, ...] = ()

    @property
    def usage(self) -> Usage | None:
        """The reply's usage; None for a call that failed for good."""
        return None if self.reply is None else self.reply.usage


CountedCall = CallRecord | CallFigures
"""A call as far as sums need it."""


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One takeover decision.

    Attributes:
        sample: the sample.
        turn: number of the turn, from 0.
        takeover: whether the target takes the turn over.
        reason: kind of the decision.
        nonconformity: s, in nats per token; None if the score failed or none was taken.
        uniform: the sample's seeded draw in [0, 1) for ties and coin flips.
        p_value: rank of s in the bank; None where none was computed.
        threshold: take over iff p <= threshold.
        bank_size: n at the time of the decision.
        bank: name of the bank.
        sequence: position in the run's order of decisions; banks and controllers are restored by
            applying the decisions in this order.
    """

    sample: SampleId
    turn: int
    takeover: bool
    reason: Reason
    nonconformity: float | None = None
    uniform: float = 0.0
    p_value: float | None = None
    threshold: float | None = None
    bank_size: int = 0
    bank: str = ""
    sequence: int = 0

    @property
    def judged(self) -> bool:
        """Whether a policy decided; False for takeovers that are counted apart.

        A failed score and an empty draft are not judged, and stay out of the realised rate.
        """
        return self.reason in JUDGED


class SegmentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a finished sample.

    `kept` is False for text that was generated and thrown away (a rejected draft that was
    replaced, a discarded probe).
    """

    author: str
    text: str
    tokens: int
    turn: int
    kind: str
    ending: str
    kept: bool = True
    attempt: int = 0


class CallTotals(msgspec.Struct, kw_only=True):
    """Sums over the calls of one role and kind.

    Attributes:
        unreported_tokens: `completion_tokens` of calls whose reply does not say what the engine's
            own speculative decoding proposed for them.
    """

    calls: int = 0
    failed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    scored_tokens: int = 0
    computed_tokens: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    unreported_tokens: int = 0
    queued_seconds: float = 0.0
    engine_seconds: float = 0.0

    def add(self, record: CountedCall) -> None:
        """Count one call in."""
        self.calls += 1
        self.retries += record.retries
        self.queued_seconds += record.sent - record.queued
        self.engine_seconds += record.done - record.sent
        usage = record.usage
        if usage is None:
            self.failed += 1
            return
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens or 0
        self.completion_tokens += usage.completion_tokens
        self.scored_tokens += usage.scored_tokens
        self.computed_tokens += usage.computed_tokens
        self.proposed_tokens += usage.proposed_tokens or 0
        self.accepted_tokens += usage.accepted_tokens or 0
        if usage.proposed_tokens is None:
            self.unreported_tokens += usage.completion_tokens

    def merge(self, other: CallTotals) -> None:
        """Add another sum to this one."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class SampleFigures(msgspec.Struct, kw_only=True):
    """A finished sample without its texts: how it ended, its decisions and its sums.

    Attributes:
        id: task, doc, repeat.
        strategy: its name.
        finish: why it ended.
        truncated: it ended because turns, budget or context ran out without an answer.
        failed: the error that ended it for good; the sample is graded wrong and counted apart.
        decisions: takeover decisions, in order of turns.
        calls: sums by "role/kind", of the strategy's calls.
        kept_tokens: by author.
        turns: turns or steps begun.
        started: when the sample was admitted.
        ended: when it finished.
        waited_seconds: time it waited for other samples (`gather`); the paper's T_s.
        weight: weight of its answer in its problem's vote, 0 if it has no answer; None under a
            strategy that takes no votes.
        answers: extractor name to extracted answer: a model's from the run, the rules' by grading.
        notes: facts that the strategy noted (`vocabularies differ`, ...).
    """

    id: SampleId
    strategy: str
    finish: Finish
    truncated: bool = False
    failed: str | None = None
    decisions: list[DecisionRecord] = msgspec.field(default_factory=list)
    calls: dict[str, CallTotals] = msgspec.field(default_factory=dict)
    kept_tokens: dict[str, int] = msgspec.field(default_factory=dict)
    turns: int = 0
    started: float = 0.0
    ended: float = 0.0
    waited_seconds: float = 0.0
    weight: float | None = None
    answers: dict[str, str | None] = msgspec.field(default_factory=dict)
    notes: dict[str, Any] = msgspec.field(default_factory=dict)


class SampleRecord(SampleFigures, kw_only=True):
    """A finished sample.

    Attributes:
        text: the kept text, what the grader sees.
        segments: kept and discarded text, in order.
    """

    text: str
    segments: list[SegmentRecord] = msgspec.field(default_factory=list)


def without_texts(record: SampleRecord) -> SampleFigures:
    """A finished sample's figures, so that its texts can be forgotten."""
    names = SampleFigures.__struct_fields__
    return SampleFigures(**{name: getattr(record, name) for name in names})


class RunRecord(msgspec.Struct, kw_only=True):
    """Describes a run: enough to tell two runs apart and to refuse mixing them.

    Attributes:
        schema: `SCHEMA_VERSION` of the writer.
        harness: version of this project.
        replies: `journal.identity.REPLIES` of the writer.
        strategy: its name.
        options: the strategy's options as used.
        settings: the run's settings as used.
        roles: the `ModelIdentity` of each role, as plain data.
        tasks: by task: number of problems, repeats, generation settings.
        environment: versions of Python and of the packages that matter.
        started_at: wall-clock time, ISO 8601, UTC.
        extractor: the `ModelIdentity` of the `llm` extractor; empty if there is none.
        imported: the published program that made the run, if `atts import` brought it in: then
            no calls, tokens and common clock are known. Empty for runs of this project.
    """

    schema: int = SCHEMA_VERSION
    harness: str = ""
    replies: int = 1
    strategy: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    roles: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    started_at: str = ""
    extractor: dict[str, Any] = msgspec.field(default_factory=dict)
    imported: str = ""
