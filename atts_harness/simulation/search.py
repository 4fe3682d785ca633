"""The limits with which a run is quickest, by search in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from atts_harness.settings import RunOptions
from atts_harness.simulation.jobs import EngineFigures
from atts_harness.simulation.running import Simulated

__all__ = ["LIVE", "best_limits", "fewer_live", "recomputed"]

LEAST, MOST = 1, 1024
GAIN = 0.005
"""Share of the makespan that a change has to save, so that no limit moves for nothing."""
LIVE = "live_samples"
LIVE_SLOTS = 4
"""Live samples by slots that keep the slots busy and the prefix cache small (docs/runs.md)."""
LOST = 0.25
"""Share of recomputed tokens from which on the prefix cache counts as too small. Where nothing is
evicted it is below .1: prompts that are new, and the rest of a block."""


def best_limits(
    initial: Mapping[str, int],
    run: Simulated,
    tried: Callable[[Mapping[str, int]], Simulated],
    hints: Mapping[str, int] | None = None,
) -> tuple[dict[str, int], Simulated]:
    """Double and halve limits, all together and one by one, as long as it helps.

    A local optimum on powers of two times what was given; limits act together, and a finer search
    would promise more than a cost model knows.

    Args:
        initial: the limits to begin with.
        run: the run with them.
        tried: runs with other ones.
        hints: values that may help, tried first. A limit that is not among the initial ones takes
            part in the search if its value helps.

    Returns:
        The limits, and the run with them. No more of its samples failed than of the first run's.
    """
    best, least = dict(initial), run
    most_failed = _failed(run)

    def better(other: Simulated) -> bool:
        return _failed(other) <= most_failed and other.makespan <= least.makespan * (1 - GAIN)

    for name, value in (hints or {}).items():
        bounded = tried(best | {name: value})
        if better(bounded):
            best, least = best | {name: value}, bounded
    one_by_one: list[Sequence[str]] = [[name] for name in best]
    ways = [list(best), *one_by_one] if len(best) > 1 else one_by_one
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
                    if not better(runs[key]):
                        break
                    best, least, improved = moved, runs[key], True
    return best, least


def recomputed(run: Simulated) -> float:
    """Share of the tokens computed by scores that are context: the prefix cache did not have it.

    0 where scores do not read the cache: then they always compute it.
    """
    return max(map(_recomputed, run.figures.values()), default=0.0)


def fewer_live(options: RunOptions, run: Simulated) -> int:
    """A bound of live samples that may keep their contexts in the prefix cache; 0: none is needed.

    Four times the slots, or as many as have room in the KV cache; and no fewer than the slots.

    Args:
        options: of the run.
        run: as it was simulated.
    """
    limits = (options.draft_concurrency, options.score_concurrency, options.takeover_concurrency)
    rooms = [
        run.kv_tokens[role] * figures.requests // figures.prompt_tokens
        for role, figures in run.figures.items()
        if _recomputed(figures) >= LOST
    ]
    if not rooms:
        return 0
    fewer = max(*limits, min(LIVE_SLOTS * max(limits), *rooms))
    return fewer if fewer < min(options.live_samples or run.samples, run.samples) else 0


def _recomputed(figures: EngineFigures) -> float:
    return figures.score_context_tokens / figures.score_tokens if figures.score_tokens else 0.0


def _failed(run: Simulated) -> int:
    return run.tally.failed
