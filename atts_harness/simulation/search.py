"""The limits with which a run is quickest, by search in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from atts_harness.simulation.running import Simulated

__all__ = ["best_limits"]

LEAST, MOST = 1, 1024
GAIN = 0.005
"""Share of the makespan that a change has to save, so that no limit moves for nothing."""


def best_limits(
    given: Mapping[str, int], made: Simulated, tried: Callable[[Mapping[str, int]], Simulated]
) -> tuple[dict[str, int], Simulated]:
    """Double and halve limits, all together and one by one, as long as it helps.

    A local optimum on powers of two times what was given; limits act together, and a finer search
    would promise more than a cost model knows.

    Args:
        given: the limits to begin with.
        made: the run with them.
        tried: runs with other ones.

    Returns:
        The limits, and the run with them. No more of its samples failed than of the first run's.
    """
    best, least = dict(given), made
    most_failed = _failed(made)
    one_by_one: list[Sequence[str]] = [[name] for name in given]
    ways = [list(given), *one_by_one] if len(given) > 1 else one_by_one
    known = {tuple(best.values()): least}
    improved = True
    while improved:
        improved = False
        for names in ways:
            for factor in (2.0, 0.5):
                while True:
                    moved = best | {name: int(best[name] * factor) for name in names}
                    if any(not LEAST <= value <= MOST for value in moved.values()):
                        break
                    key = tuple(moved.values())
                    if key not in known:
                        known[key] = tried(moved)
                    made = known[key]
                    if _failed(made) > most_failed:
                        break
                    if made.makespan > least.makespan * (1 - GAIN):
                        break
                    best, least, improved = moved, made, True
    return best, least


def _failed(made: Simulated) -> int:
    return sum(record.failed is not None for record in made.records)
