"""What a row cost, as `leaderboard.json` has it: calls, seconds, calibration, FLOPs."""

from __future__ import annotations

import msgspec


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest and the largest of several measurements."""

    low: float
    high: float


class CallSums(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one role and kind: sums over all samples, and calls a sample."""

    calls: int
    per_sample: float
    failed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    scored_tokens: int = 0
    computed_tokens: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    unreported_tokens: int = 0
    queued_seconds: float = 0.0
    engine_seconds: float = 0.0


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a row took.

    Attributes:
        makespan: seconds from the first sample's start to the last one's end.
        samples_per_second: samples over makespan.
        latency_p50: seconds of a sample, median (nearest rank).
        latency_p95: likewise, 95 %.
        computing_over_waiting: time in engines over time waiting for slots and siblings.
        concurrency: the settings that limit calls in flight, by name.
        shared_with: other tasks that ran at the same time and shared the engines.
        speedup_target_only: makespan of the target-only row of the same pair and concurrency over
            this one's; None where there is no such row.
        speedup_synchronous: likewise against `synchronous`.
        target_only: id of the row that was compared with; `synchronous` likewise.
        measured: how often the makespan was taken; it is the median of so many.
        makespan_range: of these; None for a single measurement.
        speedup_range: of `speedup_target_only`: from target-only's fastest run over this row's
            slowest, to its slowest over this row's fastest; None if either was measured once.
    """

    makespan: float | None = None
    samples_per_second: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    computing_over_waiting: float | None = None
    concurrency: dict[str, int] = {}
    shared_with: tuple[str, ...] = ()
    speedup_target_only: float | None = None
    speedup_synchronous: float | None = None
    target_only: str | None = None
    synchronous: str | None = None
    measured: int = 1
    makespan_range: Range | None = None
    speedup_range: Range | None = None


class CalibrationCost(msgspec.Struct, frozen=True, kw_only=True):
    """What calibration cost. It is not included in the row's other figures.

    Attributes:
        source: `file`, `online` or `presample`; the latter two make no calls of their own.
        bank: the bank's file.
        run_dir: the run that the bank was made from, if it still exists.
        draft_tokens: computed by the draft, in all; None without that run.
        target_tokens: likewise by the target.
        seconds: of that run.
    """

    source: str
    bank: str | None = None
    run_dir: str | None = None
    draft_tokens: int | None = None
    target_tokens: int | None = None
    seconds: float | None = None


class Flops(msgspec.Struct, frozen=True, kw_only=True):
    """Floating-point operations a sample: an estimate, never a measurement.

    Attributes:
        total: of all roles; None unless every role of the row is known.
        by_role: 2 x parameters x computed tokens, and attention where `attention` says so.
        parameters: by role, as used.
        source: by role where its parameters come from (`weights`, `index`, `setting`).
        attention: by role whether the attention over the context is in the figure.
    """

    total: float | None = None
    by_role: dict[str, float] = {}
    parameters: dict[str, float] = {}
    source: dict[str, str] = {}
    attention: dict[str, bool] = {}
