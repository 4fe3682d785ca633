"""Checks that a row has all its samples."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from atts_harness.analysis.leaderboard.samples import RowSamples, add_missing
from atts_harness.analysis.leaderboard.sources import TaskSource
from atts_harness.errors import SettingError
from atts_harness.journal.reader import RecordedRun
from atts_harness.records import SampleId
from atts_harness.results.values import MISSING, TaskResults


def complete(
    source: TaskSource, samples: RowSamples | None, force: bool
) -> tuple[int, set[SampleId] | None]:
    """Compare a row's samples with those that were asked for.

    Returns:
        How many samples are missing, which then count as wrong; and the row's samples, None if they
        are not known one by one.

    Raises:
        SettingError: some are missing, without `force`.
    """
    lost: list[SampleId] = []
    results = source.task_results
    if samples is not None and results is not None and results.log is not None:
        lost = _cut(samples, results, source.run)
        if lost and not force:
            raise SettingError(
                f"{results.log}: holds {_held(samples, lost)} of "
                f"{len(samples.ids | set(lost))} samples that the results count; "
                "it was cut, or belongs to another run"
            )
    counted = samples.ids | set(lost) if samples is not None else None
    if source.run is not None:
        absent = [s for s in source.run.missing() if s.task == source.task]
        lost += [s for s in absent if s not in set(lost)]
        planned = {s for s in source.run.planned() if s.task == source.task}
        if counted is not None and not counted <= planned | set(lost):
            raise SettingError(
                "the results have samples that the run directory was never asked for: they are of "
                "another run"
            )
        if counted is None:
            counted = planned - set(source.run.dropped())
        elif extra := len(planned - counted - set(source.run.dropped()) - set(lost)):
            source.notes.append(
                f"the run directory has {extra} more samples of this task; they are not in these "
                "results and not in this row"
            )
    if samples is not None:
        add_missing(samples, [s for s in lost if not _is_there(samples, s)])
    if lost:
        of = len(counted | set(lost)) if counted is not None else len(lost)
        words = f"not finished: {len(lost)} of {of} samples are missing and count as wrong"
        source.notes.append(words)
        source.forced.append(words)
    return len(lost), counted


def _is_there(samples: RowSamples, id_: SampleId) -> bool:
    grade = samples.grades.get(id_)
    return grade is not None and grade.failed == MISSING


def _cut(samples: RowSamples, results: TaskResults, run: RecordedRun | None) -> list[SampleId]:
    """Samples that the results count and the log does not hold.

    Documents get the run's numbers where there is a run, else numbers that no document has.
    """
    lost = [
        SampleId(samples.task, doc, repeat)
        for doc, count in samples.repeats.items()
        for repeat in range(count, results.repeats)
    ]
    planned = {s.doc for s in run.planned() if s.task == samples.task} if run is not None else ()
    numbers = itertools.chain(
        sorted(set(planned) - samples.questions.keys()), itertools.count(-1, -1)
    )
    docs = itertools.islice(numbers, max(0, results.problems - len(samples.questions)))
    return lost + [SampleId(samples.task, d, r) for d in docs for r in range(results.repeats)]


def _held(samples: RowSamples, lost: Sequence[SampleId]) -> int:
    return len(samples.ids - set(lost))
