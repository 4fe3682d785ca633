"""Oracle rows: what a perfect choice between draft and target would reach, from paired runs.

They are made with the gold answers in hand, after the fact. No strategy can do it; they bound what
choosing can gain, and every output marks them.
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
        marks: by row id what only `--force` let through; what is made of such a row has it, too.
    """
    made = []
    for draft, target in _pairs(_alone(rows, "draft-only"), _alone(rows, "target-only"), rows):
        ours, theirs = _shared(draft.samples, target.samples)
        if ours:
            forced = tuple(
                f"made of {one.row.label}: {words}"
                for one in (draft, target)
                for words in marks.get(one.row.id, ())
            )
            for choose in (_per_sample, _per_problem):
                made.append(replace(choose(draft, target, ours, theirs, level), forced=forced))
    return made


def _alone(rows: Sequence[LoadedRow], strategy: str) -> list[_Alone]:
    return [
        _Alone(one.row, one.samples)
        for one in rows
        if one.row.strategy == strategy and one.samples is not None
    ]


def _pairs(
    drafts: Sequence[_Alone], targets: Sequence[_Alone], rows: Sequence[LoadedRow]
) -> list[tuple[_Alone, _Alone]]:
    """The first run alone of either model of a pair; pairs are those that ran together."""
    first_draft = {one.row.pair.draft: one for one in reversed(drafts)}
    first_target = {one.row.pair.target: one for one in reversed(targets)}
    pairs = [one.row.pair for one in rows]
    wanted = {(p.draft, p.target) for p in pairs if p.draft is not None and p.target is not None}
    if not wanted and len(first_draft) == len(first_target) == 1:
        return [(next(iter(first_draft.values())), next(iter(first_target.values())))]
    return [
        (first_draft[draft], first_target[target])
        for draft, target in sorted(wanted)
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


def _shared(one: RowSamples, two: RowSamples) -> tuple[Grades, Grades]:
    """Grades of the samples that both have, of questions that are the same."""
    shared = [
        sample
        for sample in one.grades
        if sample in two.grades and one.questions[sample.doc].key == two.questions[sample.doc].key
    ]
    return {s: one.grades[s] for s in shared}, {s: two.grades[s] for s in shared}


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
        repeats=min(len(own) for own in questions.values()),
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
