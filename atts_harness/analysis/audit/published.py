"""The published trace format as sample records, so that published runs can be audited.

JSON lines, possibly gzipped, one sample each: `question_index`, `repeat`, `gold`, `answer` and
`turns`, a list of `{turn, draft, ppl?, percentile?, target?}` where `target` is what the target
wrote if it took over.
"""

from __future__ import annotations

import math
from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.records import DecisionRecord, SampleId, SampleRecord, SegmentRecord
from atts_harness.results.published import JOIN, Trace, TraceTurn, read_traces

RATE = 0.4
"""Nominal rate of the published runs: percentile >= 0.6."""


def records_of(path: Path | str, task: str = "published") -> list[SampleRecord]:
    """Published samples as records of ours.

    The recorded p-value is 1 - percentile (what `rule=reference` records), the threshold 0.4; the
    bank's size was not recorded.

    Raises:
        SettingError: as `read_traces`.
    """
    return [_record(sample, task) for sample in read_traces(path)]


def grades_of(path: Path | str, task: str = "published") -> dict[SampleId, bool]:
    """Whether each sample's published answer is right, by our grader.

    Raises:
        SettingError: as `read_traces`, and for a sample without a gold answer.
    """
    from atts_harness.grading.workers import grade

    ids, pairs = [], []
    right: dict[SampleId, bool] = {}
    for sample in read_traces(path):
        id_ = SampleId(task, sample.question_index, sample.repeat)
        if sample.gold is None:
            raise SettingError(f"{path}: sample {id_} has no gold answer")
        if sample.answer is None:
            right[id_] = False
            continue
        ids.append(id_)
        pairs.append((str(sample.answer), Gold(str(sample.gold))))
    verdicts = grade(pairs)
    return right | {id_: v.right for id_, v in zip(ids, verdicts, strict=True)}


def _record(sample: Trace, task: str) -> SampleRecord:
    id_ = SampleId(task, sample.question_index, sample.repeat)
    segments: list[SegmentRecord] = []
    for turn in sample.turns:
        for author, kind, text in (
            ("draft", "draft", turn.draft),
            ("target", "takeover", turn.target),
        ):
            if text is None:
                continue
            if segments:
                segments.append(_segment("strategy", "inserted", JOIN, turn.turn))
            segments.append(_segment(author, kind, text, turn.turn))
    return SampleRecord(
        id=id_,
        strategy="atts",
        text="".join(segment.text for segment in segments),
        finish="strategy",
        segments=segments,
        decisions=[_decision(id_, turn) for turn in sample.turns if turn.ppl is not None],
        turns=len(sample.turns),
    )


def _segment(author: str, kind: str, text: str, turn: int) -> SegmentRecord:
    # Token counts were not recorded.
    return SegmentRecord(author=author, text=text, tokens=0, turn=turn, kind=kind, ending="length")


def _decision(sample: SampleId, turn: TraceTurn) -> DecisionRecord:
    if turn.ppl is None or turn.percentile is None or turn.ppl <= 0:
        raise SettingError(f"sample {sample} turn {turn.turn}: a perplexity without a percentile")
    return DecisionRecord(
        sample=sample,
        turn=turn.turn,
        takeover=turn.target is not None,
        reason="p-value",
        nonconformity=math.log(turn.ppl),
        p_value=1.0 - turn.percentile,
        threshold=RATE,
        bank="marginal",
    )
