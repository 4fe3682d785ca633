"""Compares the rows of a table with reference rows; intervals allow for the number of pairs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from atts_harness.analysis.leaderboard.loading import LoadedRow
from atts_harness.analysis.leaderboard.paired import (
    Marks,
    Paired,
    Votes,
    compare,
    compare_questions,
    verdict,
)
from atts_harness.analysis.leaderboard.references import nearest
from atts_harness.analysis.leaderboard.rows import Comparison, Reference, Row
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.statistics import Family

REFERENCES: tuple[Reference, ...] = ("target-only", "random-takeover", "atts")
MARGIN = 0.02
"""Default margin: pass@1 that a method may lose and still count as no worse."""


def comparisons(
    rows: Sequence[LoadedRow], level: float, *, margin: float = MARGIN, reference: str | None = None
) -> tuple[Comparison, ...]:
    """Paired comparisons of a table's rows; oracles and rows without samples are left out.

    Without a reference every row is compared with target-only, random takeover and ATTS. Two rows
    are compared once: target-only against ATTS is ATTS against target-only.

    Args:
        rows: of one table.
        level: chance, at least, that all intervals of the table hold.
        margin: for "no worse by more than".
        reference: id, label or strategy of the row that all others are compared with instead.
    """
    able = [entry for entry in rows if entry.samples is not None and not entry.row.oracle]
    pairs: list[tuple[LoadedRow, LoadedRow, Reference, Paired]] = []
    for entry, other, kind in _pairs(able, reference):
        if entry.row.vote is not None or other.row.vote is not None:
            paired = compare_questions(votes(entry.samples), votes(other.samples), level=level)
        else:
            paired = compare(marks(entry.samples), marks(other.samples), level=level)
        if paired is not None:
            pairs.append((entry, other, kind, paired))
    family = Family(max(1, sum(paired.p is not None for *_, paired in pairs)), level)
    return tuple(
        _comparison(entry.row, other.row, kind, paired, family, margin)
        for entry, other, kind, paired in pairs
    )


def named(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows that a name selects: the one with this id or label, else those of this strategy."""
    exact = [row for row in rows if name in (row.id, row.label)]
    return exact or [row for row in rows if row.strategy == name]


def marks(samples: RowSamples | None) -> Marks:
    """Right or wrong by question and repeat; a question whose text changed counts as another."""
    if samples is None:
        return {}
    return {
        ((sample.doc, samples.questions[sample.doc].key), sample.repeat): float(grade.right)
        for sample, grade in samples.grades.items()
    }


def votes(samples: RowSamples | None) -> Votes:
    """By question: the chance that its vote is right or, without votes, every sample's mark."""
    if samples is None:
        return {}
    if samples.votes:
        return {(d, samples.questions[d].key): [v] for d, v in samples.votes.items()}
    by_question: dict[Hashable, list[float]] = {}
    for (question, _), right in marks(samples).items():
        by_question.setdefault(question, []).append(right)
    return by_question


def _pairs(
    able: Sequence[LoadedRow], reference: str | None
) -> Iterator[tuple[LoadedRow, LoadedRow, Reference]]:
    by_id = {entry.row.id: entry for entry in able}
    compared: set[frozenset[str]] = set()
    kinds: Sequence[Reference] = REFERENCES if reference is None else ("named",)
    for kind in kinds:
        references = [entry.row for entry in able if entry.row.strategy == kind]
        if reference is not None:
            references = named([entry.row for entry in able], reference)
        for entry in able:
            if entry.row in references:
                continue
            against = nearest(entry.row, references)
            if against is None and reference is not None and len(references) == 1:
                against = references[0]  # asked for by name, whatever its models
            if against is None or frozenset((entry.row.id, against.id)) in compared:
                continue
            compared.add(frozenset((entry.row.id, against.id)))
            yield entry, by_id[against.id], kind


def _comparison(
    row: Row, reference: Row, kind: Reference, paired: Paired, family: Family, margin: float
) -> Comparison:
    simultaneous = paired.interval(family.each)
    bounded = simultaneous.low is not None and simultaneous.high is not None
    return Comparison(
        row=row.id,
        reference=reference.id,
        kind=kind,
        problems=paired.problems,
        samples=paired.samples,
        difference=paired.difference,
        simultaneous=simultaneous,
        p=paired.p,
        p_adjusted=None if paired.p is None else family.adjusted(paired.p),
        family=family.size,
        needed=family.needed,
        mcnemar=paired.mcnemar,
        distinguishable=simultaneous.leaves_out(0.0) if bounded else None,
        no_worse=paired.no_worse(margin, family.each),
        words=verdict(simultaneous, paired.problems, reference.label, family),
    )
