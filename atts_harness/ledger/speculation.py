"""How much of what an engine's own speculative decoding proposed became text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atts_harness.records import CallTotals

PROPOSED, ACCEPTED = "proposed_tokens", "accepted_tokens"
"""Figures of an engine: tokens that were proposed, and those of them that were accepted."""


def accepted_of(calls: Mapping[str, CallTotals]) -> dict[str, float]:
    """The share of proposed tokens that was accepted, by role.

    A role is left out if nothing was proposed for it, or if some of its replies do not say how much
    was: the others are not a fair sample. vLLM does not count for replies that end at a stop
    string, because it forgets the request before the engine reports on it (0.32,
    `OutputProcessor`).

    Args:
        calls: sums by "role/kind".
    """
    proposed: dict[str, int] = {}
    accepted: dict[str, int] = {}
    unreported: dict[str, int] = {}
    for name, totals in calls.items():
        role = name.partition("/")[0]
        proposed[role] = proposed.get(role, 0) + totals.proposed_tokens
        accepted[role] = accepted.get(role, 0) + totals.accepted_tokens
        unreported[role] = unreported.get(role, 0) + totals.unreported_tokens
    return {
        role: accepted[role] / count
        for role, count in proposed.items()
        if count and not unreported[role]
    }


def accepted_by_engines(
    metrics: Iterable[tuple[float, str, Mapping[str, float]]],
) -> dict[str, float]:
    """The same by engine, from its own counters: the increase between readings.

    A counter that went down belongs to an engine that was restarted, and counts from 0.

    Args:
        metrics: seconds, engine and figures, in order.
    """
    before: dict[str, tuple[float, float]] = {}
    sums: dict[str, list[float]] = {}
    for _, engine, figures in metrics:
        if PROPOSED not in figures or ACCEPTED not in figures:
            continue
        now = (figures[PROPOSED], figures[ACCEPTED])
        last = before.get(engine)
        if last is not None:
            counted = sums.setdefault(engine, [0.0, 0.0])
            start = last if now[0] >= last[0] else (0.0, 0.0)
            counted[0] += now[0] - start[0]
            counted[1] += now[1] - start[1]
        before[engine] = now
    return {engine: counted[1] / counted[0] for engine, counted in sums.items() if counted[0]}
