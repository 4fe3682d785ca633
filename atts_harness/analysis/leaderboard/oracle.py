"""Oracle rows: what a perfect choice between draft and target would reach, from paired runs.

They are made afterwards, with the gold answers. No strategy can do that; they bound what
a choice between the models can gain, and every output marks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from atts_harness.analysis.leaderboard.loading import LoadedRow
from atts_harness.analysis.leaderboard.rows import Pair, Row, RowSource
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.leaderboard.scores import by_question, maj_at, pass_at
from atts_harness.grading.grade import Grade
from atts_harness.records import SampleId

PER_SAMPLE = "oracle, per sample"
PER_PROBLEM = "oracle, per problem"

Grades = dict[SampleId, Grade]


@dataclass(frozen=True)
class _Alone:
    """A row of one model alone, with its samples."""

    row: Row
    samples: RowSamples


def oracles(
    rows: Sequence[LoadedRow], level: float, marks: Mapping[str, tuple[str, ...]]
) -> list[LoadedRow]:
    """Oracle rows of a table, for every pair of which both models ran alone.

    Args:
        rows: of one table.
        level: of the intervals.
        marks: by row id what only `--force` let through; an oracle keeps that of its rows.
    """
    oracle_rows = []
    for draft, target in _pairs(_alone(rows, "draft-only"), _alone(rows, "target-only"), rows):
        ours, theirs = _shared(draft.samples, target.samples)
        if ours:
            forced = tuple(
                f"made of {source.row.label}: {words}"
                for source in (draft, target)
                for words in marks.get(source.row.id, ())
            )
            for choose in (_per_sample, _per_problem):
                oracle_rows.append(
                    replace(choose(draft, target, ours, theirs, level), forced=forced)
                )
    return oracle_rows


def _alone(rows: Sequence[LoadedRow], strategy: str) -> list[_Alone]:
    return [
        _Alone(entry.row, entry.samples)
        for entry in rows
        if entry.row.strategy == strategy and entry.samples is not None
    ]


def _pairs(
    drafts: Sequence[_Alone], targets: Sequence[_Alone], rows: Sequence[LoadedRow]
) -> list[tuple[_Alone, _Alone]]:
    """For each pair that ran together, the first run of each of its models alone."""
    first_draft = {run.row.pair.draft: run for run in reversed(drafts)}
    first_target = {run.row.pair.target: run for run in reversed(targets)}
    pairs = [entry.row.pair for entry in rows]
    model_pairs = {
        (p.draft, p.target) for p in pairs if p.draft is not None and p.target is not None
    }
    if not model_pairs and len(first_draft) == len(first_target) == 1:
        return [(next(iter(first_draft.values())), next(iter(first_target.values())))]
    return [
        (first_draft[draft], first_target[target])
        for draft, target in sorted(model_pairs)
        if draft in first_draft and target in first_target
    ]


def _per_sample(
    draft: _Alone, target: _Alone, ours: Grades, theirs: Grades, level: float
) -> LoadedRow:
    grades = {sample: theirs[sample] if theirs[sample].right else ours[sample] for sample in ours}
    return _row(draft, target, PER_SAMPLE, grades, {}, level)


def _per_problem(
    draft: _Alone, target: _Alone, ours: Grades, theirs: Grades, level: float
) -> LoadedRow:
    gains: dict[int, int] = {}
    for sample, grade in ours.items():
        gains[sample.doc] = gains.get(sample.doc, 0) + grade.right - theirs[sample].right
    grades = {s: ours[s] if gains[s.doc] > 0 else theirs[s] for s in ours}
    majority = {
        doc: (draft if gain > 0 else target).samples.majority.get(doc, {})
        for doc, gain in gains.items()
    }
    return _row(draft, target, PER_PROBLEM, grades, majority, level)


def _shared(ours: RowSamples, theirs: RowSamples) -> tuple[Grades, Grades]:
    """Grades of the samples that both have, where the question is the same."""
    shared = [
        sample
        for sample in ours.grades
        if sample in theirs.grades
        and ours.questions[sample.doc].key == theirs.questions[sample.doc].key
    ]
    return {s: ours.grades[s] for s in shared}, {s: theirs.grades[s] for s in shared}


def _row(
    draft: _Alone,
    target: _Alone,
    name: str,
    grades: Grades,
    majority: dict[int, dict[int, float]],
    level: float,
) -> LoadedRow:
    docs = {sample.doc for sample in grades}
    samples = RowSamples(
        task=draft.row.task,
        questions={doc: draft.samples.questions[doc] for doc in sorted(docs)},
        grades=grades,
        repeats=dict(Counter(sample.doc for sample in grades)),
        majority=majority,
    )
    questions = by_question(samples)
    row = Row(
        id="",
        label=name,
        strategy="oracle",
        oracle=True,
        pair=_pair(draft.row.pair, target.row.pair),
        task=draft.row.task,
        conditions=msgspec.structs.replace(
            draft.row.conditions,
            sampling={**draft.row.conditions.sampling, **target.row.conditions.sampling},
        ),
        problems=len(questions),
        repeats=min(len(repeats) for repeats in questions.values()),
        samples=len(grades),
        pass_at=pass_at(samples, level),
        maj_at=maj_at(samples, level),
        source=RowSource(kind="oracle"),
        notes=("oracle: chosen with the gold answers in hand; no strategy can do it",),
    )
    return LoadedRow(row, samples)


def _pair(draft: Pair, target: Pair) -> Pair:
    return Pair(
        name=f"{draft.draft} + {target.target}",
        draft=draft.draft,
        target=target.target,
        draft_engine=draft.draft_engine,
        target_engine=target.target_engine,
    )
