"""The turns that an audit counts, made from sample records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from atts_harness.grading.extraction import THINK_END, boxed
from atts_harness.records import DecisionRecord, Reason, SampleId, SampleRecord, SegmentRecord

Effect = Literal["empty", "supplied", "changed", "kept", "open"]
"""What a takeover did to the answer: it wrote nothing; gave the first answer; gave another one;
left the draft's answer standing; or there is no answer yet on either side."""

NEW_ANSWER: frozenset[Effect] = frozenset({"supplied", "changed"})


@dataclass(frozen=True)
class AuditedTurn:
    """One decided turn.

    Attributes:
        sample: the sample that it belongs to.
        turn: counted from 0.
        takeover: the decision.
        reason: what the decision was made by; only `p-value` counts towards the realised rate.
        score: s, None without one.
        p_value: None where none was computed.
        threshold: what the p-value was compared with.
        thinking: whether the draft is part of the thoughts; None if there is no text.
        answering: whether the draft holds a boxed answer; None if there is no text.
        effect: what a takeover did to the answer; None without a takeover or text.
    """

    sample: SampleId
    turn: int
    takeover: bool
    reason: Reason
    score: float | None
    p_value: float | None
    threshold: float | None
    thinking: bool | None = None
    answering: bool | None = None
    effect: Effect | None = None

    @property
    def question(self) -> tuple[str, int]:
        """Its question, which is the cluster of every interval."""
        return self.sample.task, self.sample.doc


def turns_of(samples: Iterable[SampleRecord]) -> Iterator[AuditedTurn]:
    """Every decided turn, sample by sample in order of turns."""
    for sample in samples:
        yield from _turns(sample)


def turns_of_decisions(decisions: Iterable[DecisionRecord]) -> Iterator[AuditedTurn]:
    """Decided turns without their texts, as an unfinished run has them."""
    for decision in decisions:
        yield _turn(decision)


def _turn(
    decision: DecisionRecord,
    thinking: bool | None = None,
    answering: bool | None = None,
    effect: Effect | None = None,
) -> AuditedTurn:
    return AuditedTurn(
        sample=decision.sample,
        turn=decision.turn,
        takeover=decision.takeover,
        reason=decision.reason,
        score=decision.nonconformity,
        p_value=decision.p_value,
        threshold=decision.threshold,
        thinking=thinking,
        answering=answering,
        effect=effect,
    )


def _turns(sample: SampleRecord) -> Iterator[AuditedTurn]:
    by_turn: dict[int, list[SegmentRecord]] = {}
    for segment in sample.segments:
        by_turn.setdefault(segment.turn, []).append(segment)
    decided = {decision.turn: decision for decision in sample.decisions}
    text = ""
    for turn in sorted({*by_turn, *decided}):
        segments = by_turn.get(turn, [])
        if turn in decided:
            yield _with_text(decided[turn], text, segments)
        text += _written(segments, kept_only=True)


def _with_text(decision: DecisionRecord, before: str, segments: list[SegmentRecord]) -> AuditedTurn:
    drafted = _written((s for s in segments if s.kind != "takeover"), kept_only=False)
    after = before + _written(segments, kept_only=True)
    written = _written((s for s in segments if s.kind == "takeover"), kept_only=True)
    return _turn(
        decision,
        thinking=THINK_END not in before,
        answering=boxed(drafted) is not None,
        effect=_effect(before + drafted, after, written) if decision.takeover else None,
    )


def _effect(without: str, after: str, written: str) -> Effect:
    if not written:
        return "empty"
    before, now = boxed(without), boxed(after)
    if now is None:
        return "open"
    if before is None:
        return "supplied"
    return "kept" if _bare(before) == _bare(now) else "changed"


def _bare(answer: str) -> str:
    return "".join(answer.split())


def _written(segments: Iterable[SegmentRecord], *, kept_only: bool) -> str:
    return "".join(s.text for s in segments if s.kept or not kept_only)
