"""Finds the reference row of a row, and computes speed-ups between comparable rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from atts_harness.analysis.leaderboard.conditions import MODEL
from atts_harness.analysis.leaderboard.rows import Row
from atts_harness.analysis.leaderboard.spent import Range


def with_speedups(rows: Sequence[Row]) -> list[Row]:
    """The rows of a table, with speed-ups where there is a row to compare with.

    Like with like: the same models on the same engines, the same concurrency settings, the same
    number of samples, and the same tasks at the same time.
    """
    compared = []
    for row in rows:
        timed = [other for other in rows if _alike(row, other)]
        alone = nearest(row, [other for other in timed if other.strategy == "target-only"])
        barrier = nearest(row, [other for other in timed if other.strategy == "synchronous"])
        speed = msgspec.structs.replace(
            row.speed,
            speedup_target_only=_ratio(alone, row),
            speedup_synchronous=_ratio(barrier, row),
            target_only=alone.id if alone else None,
            synchronous=barrier.id if barrier else None,
            speedup_range=_range(alone, row),
        )
        compared.append(msgspec.structs.replace(row, speed=speed))
    return compared


def nearest(row: Row, others: Sequence[Row]) -> Row | None:
    """Choose the reference that a row is compared with.

    Args:
        row: the row to compare.
        others: rows of the reference strategy, with any models.

    Returns:
        A reference with the row's models: the one with the same `on_reject` if there is one, then
        the nearest in realised takeover rate, then in target tokens, then the first. None if no
        reference has these models, or if the row has one model and several other models fit.
    """
    fitting = [other for other in others if _fits(row, other)]
    if len({(other.pair.draft, other.pair.target) for other in fitting}) != 1:
        return None
    return min(fitting, key=lambda other: _distance(row, other))


def _fits(row: Row, other: Row) -> bool:
    """Whether the models that both rows have are the same."""
    for role in ("draft", "target"):
        mine, its = _model(row, role), _model(other, role)
        if None not in (mine, its) and mine != its:
            return False
    return True


def _model(row: Row, role: str) -> tuple[str, str | None] | None:
    name: str | None = getattr(row.pair, role)
    if name is None or MODEL in row.conditions.sampling:  # another lm-eval model has no roles
        return None
    return name, getattr(row.pair, f"{role}_engine")


def _distance(row: Row, other: Row) -> tuple[float, float, float]:
    mine, its = row.options.get("on_reject"), other.options.get("on_reject")
    rates = [r.takeover.realised.value for r in (row, other) if r.takeover and r.takeover.realised]
    tokens = [r.tokens.target_computed or 0.0 for r in (row, other)]
    return (
        float(None not in (mine, its) and mine != its),
        abs(rates[0] - rates[1]) if len(rates) == 2 else 0.0,
        abs(tokens[0] - tokens[1]),
    )


def _alike(row: Row, other: Row) -> bool:
    mine, its = row.speed, other.speed
    return (
        bool(mine.makespan and its.makespan)
        and (mine.concurrency, mine.shared_with) == (its.concurrency, its.shared_with)
        and row.samples == other.samples
    )


def _range(reference: Row | None, row: Row) -> Range | None:
    theirs = None if reference is None else reference.speed.makespan_range
    ours = row.speed.makespan_range
    if theirs is None or ours is None or reference is row:
        return None
    return Range(low=theirs.low / ours.high, high=theirs.high / ours.low)


def _ratio(reference: Row | None, row: Row) -> float | None:
    if reference is None or not reference.speed.makespan or not row.speed.makespan:
        return None
    return reference.speed.makespan / row.speed.makespan
