"""What models wrote in a run that was made: lengths, scores and endings, turn by turn.

A trace is what a simulation draws from. It comes from a run directory (`trace_of_run`), whose
calls hold every length, or is built by a reader of published files.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.records import SampleRecord

USUAL_CHARACTERS = 3.6
"""Characters a token of English mathematics, where a trace does not tell."""

__all__ = ["RunTrace", "SampleTrace", "TurnTrace", "trace_of_samples"]


@dataclass(frozen=True)
class TurnTrace:
    """One turn of one sample.

    Attributes:
        draft: tokens the draft wrote; 0 for an empty draft.
        score: nonconformity of the draft in nats a token; None where it was not scored.
        takeover: tokens the target wrote; None if it did not take over.
        draft_ends: whether the draft's text ends the sample.
        takeover_ends: whether the target's text does.
    """

    draft: int
    score: float | None = None
    takeover: int | None = None
    draft_ends: bool = False
    takeover_ends: bool = False


@dataclass(frozen=True)
class SampleTrace:
    """One sample: its turns, and the seconds it took where that was recorded."""

    doc: int
    repeat: int
    turns: tuple[TurnTrace, ...]
    seconds: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all its turns."""
        return sum(turn.draft + (turn.takeover or 0) for turn in self.turns)


@dataclass(frozen=True)
class RunTrace:
    """A run as a simulation needs it.

    Attributes:
        task: what was run.
        samples: by question, in order of repeats.
        prompts: tokens of each question's prompt.
        chunk: most tokens of one turn's text, as it was run.
        rate: nominal takeover rate of the run; None: not known.
        estimated: whether tokens were worked out from characters, because nobody recorded them.
    """

    task: str
    samples: Mapping[int, tuple[SampleTrace, ...]]
    prompts: Mapping[int, int] = field(default_factory=dict)
    chunk: int = 500
    rate: float | None = None
    estimated: bool = False

    @property
    def repeats(self) -> int:
        """Samples of the question that has fewest."""
        return min(len(samples) for samples in self.samples.values())

    def spread(self, count: int, docs: int) -> RunTrace:
        """Some of the trace's questions, at even distances.

        Args:
            count: how many, at most `docs`.
            docs: of how many; fewer than the trace's are its first ones, more repeat them.
        """
        names = list(self.samples)
        if count >= len(names):
            return self
        last = min(docs, len(names))
        docs_kept = dict.fromkeys(names[n * last // count] for n in range(count))
        return replace(self, samples={doc: self.samples[doc] for doc in docs_kept})

    def turns(self) -> Iterable[TurnTrace]:
        """Every turn."""
        for samples in self.samples.values():
            for sample in samples:
                yield from sample.turns

    def require_decisions(self, place: Path | str) -> None:
        """Refuse a trace that cannot say how turns were scored.

        Raises:
            SettingError: no turn has a score.
        """
        if not any(turn.score is not None for turn in self.turns()):
            raise SettingError(
                f"--trace {place}: no turn of it was scored; give a run of a strategy that scores "
                "turns, such as atts"
            )


def trace_of_samples(
    records: Iterable[SampleRecord],
    *,
    task: str,
    prompts: Mapping[int, int] | None = None,
    chunk: int = 500,
    rate: float | None = None,
) -> RunTrace:
    """The trace of a finished run of turns.

    Args:
        records: the run's sample records; those of other tasks and failed ones are left out.
        task: which task.
        prompts: tokens of each question's prompt.
        chunk: most tokens of one turn's text.
        rate: nominal takeover rate.

    Where no tokens were recorded they are estimated from characters: a draft that was cut off
    has `chunk` tokens, which tells how many characters a token has.

    Raises:
        SettingError: no sample of the task has turns.
    """
    own_task = [r for r in records if r.id.task == task and r.failed is None]
    estimated = not any(segment.tokens for record in own_task for segment in record.segments)
    characters = _characters(own_task, chunk) if estimated else None
    samples: dict[int, list[SampleTrace]] = {}
    for record in own_task:
        turns = _turns(record, characters, chunk)
        if turns:
            seconds = record.ended - record.started
            sample = SampleTrace(record.id.doc, record.id.repeat, turns, seconds)
            samples.setdefault(record.id.doc, []).append(sample)
    if not samples:
        raise SettingError(
            f"it has no finished sample of task {task!r} with turns; give a run of a strategy "
            "that takes turns, such as atts"
        )
    ordered = {
        doc: tuple(sorted(repeats, key=lambda sample: sample.repeat))
        for doc, repeats in sorted(samples.items())
    }
    return RunTrace(task, ordered, dict(prompts or {}), chunk, rate, estimated)


def _characters(records: Sequence[SampleRecord], chunk: int) -> float:
    """Characters a token, from drafts that were not the last of their sample."""
    cut = [
        len(segment.text)
        for record in records
        for segment in record.segments
        if segment.kind == "draft" and segment.turn < record.turns - 1
    ]
    return max(1.0, statistics.median(cut) / chunk) if cut else USUAL_CHARACTERS


def _turns(record: SampleRecord, characters: float | None, chunk: int) -> tuple[TurnTrace, ...]:
    scores = {decision.turn: decision.nonconformity for decision in record.decisions}
    takeovers = {decision.turn for decision in record.decisions if decision.takeover}
    written: dict[tuple[int, str], tuple[int, bool]] = {}
    for segment in record.segments:
        if segment.kind not in ("draft", "takeover"):
            continue
        tokens, ends = written.get((segment.turn, segment.kind), (0, False))
        closed = segment.ending == "eos" or "\\boxed" in segment.text
        length = segment.tokens
        if characters is not None:
            length = min(chunk, math.ceil(len(segment.text) / characters))
        written[segment.turn, segment.kind] = (tokens + length, ends or closed)
    turns = []
    for turn in sorted({turn for turn, _ in written} | set(scores)):
        draft, draft_ends = written.get((turn, "draft"), (0, False))
        takeover, takeover_ends = written.get((turn, "takeover"), (0, False))
        turns.append(
            TurnTrace(
                draft=draft,
                score=scores.get(turn),
                takeover=takeover if turn in takeovers else None,
                draft_ends=draft_ends,
                takeover_ends=turn in takeovers and takeover_ends,
            )
        )
    return tuple(turns)
