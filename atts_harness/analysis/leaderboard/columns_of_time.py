"""The columns of a row's times."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from atts_harness.analysis.leaderboard import numbers
from atts_harness.analysis.leaderboard.column import Column
from atts_harness.ledger.statistics import intensity_in_words

TIME = "time"
TIMES: tuple[tuple[str, str, Callable[[float], str], str], ...] = (
    ("latency_p50", "p50 s", numbers.seconds, "median seconds of a sample"),
    ("latency_p95", "p95 s", numbers.seconds, "95 % of samples took at most so many seconds"),
    ("makespan", "makespan s", numbers.seconds, "from the first sample's start to the last's end"),
    ("samples_per_second", "samples/s", numbers.figure, "samples over makespan"),
    (
        "speedup_target_only",
        "× target-only",
        numbers.ratio,
        "speedup against target-only of the same pair at the same concurrency",
    ),
    (
        "speedup_synchronous",
        "× synchronous",
        numbers.ratio,
        "speedup against synchronous of the same pair at the same concurrency",
    ),
    (
        "computing_over_waiting",
        "computing / waiting",
        intensity_in_words,
        "time in engines over time waiting for slots and siblings",
    ),
)


def times() -> Iterator[Column]:
    """The columns, in order."""
    for key, title, write, about in TIMES:
        yield Column(
            f"speed.{key}",
            key,
            title,
            TIME,
            lambda row, key=key: getattr(row.speed, key),  # type: ignore[misc]
            write,
            about=about,
        )
