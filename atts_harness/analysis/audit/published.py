"""The published trace format as sample records, so that published runs can be audited.

JSON lines, possibly gzipped, one sample each: `question_index`, `repeat`, `gold`, `answer` and
`turns`, a list of `{turn, draft, ppl?, percentile?, target?}` where `target` is what the target
wrote if it took over.
"""

from __future__ import annotations

from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.records import SampleId, SampleRecord
from atts_harness.results.published import read_traces, record_of


def records_of(path: Path | str, task: str = "published") -> list[SampleRecord]:
    """Published samples as records of ours; see `results.published.record_of`.

    Raises:
        SettingError: as `read_traces`.
    """
    return [record_of(sample, task) for sample in read_traces(path)]


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
