"""Other schedules of the same work, to be measured beside ours, in simulated time.

A sample is a chain of calls: the engine that each one needs, and for how long. The schedules are
plain event simulations of a client that knows nothing of lengths.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One call: which engine, and how many seconds in a slot of it."""

    engine: str
    seconds: float


Chain = Sequence[Step]


@dataclass(frozen=True)
class Bound:
    """What no schedule can beat: the busiest engine's work over its slots; the longest chain."""

    per_slot: float
    longest: float

    @property
    def seconds(self) -> float:
        return max(self.per_slot, self.longest)


def bound(chains: Sequence[Chain], slots: Mapping[str, int]) -> Bound:
    work = dict.fromkeys(slots, 0.0)
    for chain in chains:
        for step in chain:
            work[step.engine] += step.seconds
    longest = max(sum(step.seconds for step in chain) for chain in chains)
    return Bound(max(work[name] / slots[name] for name in slots), longest)


def first_come(chains: Sequence[Chain], slots: Mapping[str, int]) -> float:
    """Makespan with all samples live and every engine's queue first come, first served."""
    free = dict(slots)
    queues: dict[str, deque[int]] = {name: deque() for name in slots}
    at = [0] * len(chains)
    events: list[tuple[float, int, int]] = []
    now, count = 0.0, 0

    def ask(sample: int) -> None:
        queues[chains[sample][at[sample]].engine].append(sample)

    def begin() -> None:
        nonlocal count
        for name, queue in queues.items():
            while queue and free[name]:
                free[name] -= 1
                sample = queue.popleft()
                count += 1
                ends = now + chains[sample][at[sample]].seconds
                heapq.heappush(events, (ends, count, sample))

    for sample, chain in enumerate(chains):
        if chain:
            ask(sample)
    begin()
    while events:
        now, _, sample = heapq.heappop(events)
        free[chains[sample][at[sample]].engine] += 1
        at[sample] += 1
        if at[sample] < len(chains[sample]):
            ask(sample)
        begin()
    return now


def barrier(
    groups: Sequence[Sequence[Chain]], slots: Mapping[str, int], pause: float = 0.0
) -> float:
    """Makespan as published: one problem after the other, all its samples at once.

    Args:
        groups: chains by problem.
        slots: by engine.
        pause: seconds between problems (the published driver script sleeps 2).
    """
    return sum(first_come(group, slots) + pause for group in groups)
