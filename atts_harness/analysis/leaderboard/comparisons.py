"""Every row of a table against target-only, random takeover and ATTS, with their number counted."""

from __future__ import annotations

from collections.abc import Sequence

from atts_harness.analysis.leaderboard.loading import Loaded
from atts_harness.analysis.leaderboard.paired import Marks, Paired, compare, holm, verdict
from atts_harness.analysis.leaderboard.references import nearest
from atts_harness.analysis.leaderboard.rows import Comparison, Reference, Row
from atts_harness.analysis.leaderboard.samples import RowSamples

REFERENCES: tuple[Reference, ...] = ("target-only", "random-takeover", "atts")


def comparisons(rows: Sequence[Loaded], level: float, seed: int = 0) -> tuple[Comparison, ...]:
    """Paired comparisons of a table's rows; oracles and rows without samples are left out.

    Two rows are compared once: target-only against ATTS is ATTS against target-only.

    Args:
        rows: of one table.
        level: of the intervals.
        seed: of the permutation test.
    """
    able = [one for one in rows if one.samples is not None and not one.row.oracle]
    by_id = {one.row.id: one for one in able}
    found: list[tuple[Loaded, Loaded, Reference, Paired]] = []
    seen: set[frozenset[str]] = set()
    for kind in REFERENCES:
        references = [one.row for one in able if one.row.strategy == kind]
        for one in able:
            if one.row.strategy == kind:
                continue
            reference = nearest(one.row, references)
            if reference is None or frozenset((one.row.id, reference.id)) in seen:
                continue
            other = by_id[reference.id]
            paired = compare(marks(one.samples), marks(other.samples), level=level, seed=seed)
            if paired is not None:
                seen.add(frozenset((one.row.id, reference.id)))
                found.append((one, other, kind, paired))
    adjusted = holm([paired.p for *_, paired in found])
    tests = sum(p is not None for p in adjusted)
    return tuple(
        _comparison(one.row, other.row, kind, paired, p, tests, level)
        for (one, other, kind, paired), p in zip(found, adjusted, strict=True)
    )


def marks(samples: RowSamples | None) -> Marks:
    """Right or wrong by question and repeat; a changed question is another one."""
    if samples is None:
        return {}
    return {
        ((sample.doc, samples.questions[sample.doc].key), sample.repeat): grade.right
        for sample, grade in samples.grades.items()
    }


def _comparison(
    row: Row,
    reference: Row,
    kind: Reference,
    paired: Paired,
    adjusted: float | None,
    tests: int,
    level: float,
) -> Comparison:
    corrected = 1 - (1 - level) / max(tests, 1)
    return Comparison(
        row=row.id,
        reference=reference.id,
        kind=kind,
        problems=paired.problems,
        samples=paired.samples,
        difference=paired.difference,
        simultaneous=paired.interval(corrected),
        p=paired.p,
        p_adjusted=adjusted,
        family=max(tests, 1),
        mcnemar=paired.mcnemar,
        distinguishable=None if adjusted is None else adjusted <= 1 - level + 1e-12,
        words=verdict(paired.difference, adjusted, reference.label, level),
    )
