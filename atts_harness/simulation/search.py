"""The limits with which a run is quickest, by search in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from atts_harness.simulation.running import Simulated

__all__ = ["best_limits"]

LEAST, MOST = 1, 1024
GAIN = 0.005
"""Share of the makespan that a change has to save, so that no limit moves for nothing."""


def best_limits(
    initial: Mapping[str, int], run: Simulated, tried: Callable[[Mapping[str, int]], Simulated]
) -> tuple[dict[str, int], Simulated]:
    """Double and halve limits, all together and one by one, as long as it helps.

    A local optimum on powers of two times what was given; limits act together, and a finer search
    would promise more than a cost model knows.

    Args:
        initial: the limits to begin with.
        run: the run with them.
        tried: runs with other ones.

    Returns:
        The limits, and the run with them. No more of its samples failed than of the first run's.
    """
    best, least = dict(initial), run
    most_failed = _failed(run)
    one_by_one: list[Sequence[str]] = [[name] for name in initial]
    ways = [list(initial), *one_by_one] if len(initial) > 1 else one_by_one
    runs = {tuple(best.values()): least}
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
                    if key not in runs:
                        runs[key] = tried(moved)
                    run = runs[key]
                    if _failed(run) > most_failed:
                        break
                    if run.makespan > least.makespan * (1 - GAIN):
                        break
                    best, least, improved = moved, run, True
    return best, least


def _failed(run: Simulated) -> int:
    return run.tally.failed
