"""What a plan says of one run: a row, its engines, and rows whose order is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["EngineShare", "PlanRow", "row_label", "with_flips"]


class EngineShare(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine spent the makespan, and its KV cache.

    Attributes:
        busy: share of the makespan in which it took steps.
        kv_tokens: capacity of its KV cache.
        kv_peak: most of it in use at a time, in [0, 1].
        computed: prompt tokens computed.
        cached: prompt tokens read from the prefix cache.
        written: tokens written.
        preemptions: requests that had to be computed again for want of room.
        memory: GiB of its weights and of the most KV cache in use at a time, over its GPUs.
    """

    busy: float
    kv_tokens: int
    kv_peak: float
    computed: int
    cached: int
    written: int
    preemptions: int
    memory: float


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated run.

    Attributes:
        strategy: its name.
        point: the operating point: what was swept.
        split: GPUs of draft and target.
        problems: questions.
        repeats: samples a question.
        samples: how many in all.
        makespan: seconds.
        low, high: its range over the cost model's overheads.
        samples_a_second: throughput.
        p50, p95: seconds of a sample.
        gpu_hours: GPUs times makespan.
        dollars: None without a price.
        takeover_rate: realised; None without decisions.
        intensity: the paper's r = T_c / (T_m + T_s).
        engines: by role.
        bound: what bounds it: `KV cache of the target`, or "" where nothing does.
        order_flips: labels of rows that are quicker at one end of the ranges and slower at the
            other, so that their order is not known.
        failed: samples that failed, as they would in a run (a call longer than `timeout`, a context
            that does not fit).
        failure: the first one's error.
        lower_bound: whether the longest of the samples cannot be known from so few recorded ones.
        splits: makespan by every split that was tried.
        limits: the limits found by search; empty without one.
        usual: makespan with the limits as they were given; None without a search.
        recomputed: share of the tokens computed by scores that the prefix cache had lost.
        fewer_live: a value of `live_samples` that may keep them there; 0: none is needed.
    """

    strategy: str
    point: dict[str, str]
    split: str
    problems: int
    repeats: int
    samples: int
    makespan: float
    low: float
    high: float
    samples_a_second: float
    p50: float
    p95: float
    gpu_hours: float
    dollars: float | None
    takeover_rate: float | None
    intensity: float
    engines: dict[str, EngineShare]
    bound: str = ""
    failed: int = 0
    failure: str = ""
    order_flips: tuple[str, ...] = ()
    lower_bound: bool = False
    splits: dict[str, float] = {}
    limits: dict[str, int] = {}
    usual: float | None = None
    recomputed: float = 0.0
    fewer_live: int = 0

    @property
    def label(self) -> str:
        """Strategy and operating point."""
        return row_label(self.strategy, self.point)

    def at_least(self, text: str) -> str:
        """A figure that grows with the longest sample; marked where that is not known."""
        return f"≥{text}" if self.lower_bound else text

    def at_most(self, text: str) -> str:
        """A figure that falls with the longest sample; marked where that is not known."""
        return f"≤{text}" if self.lower_bound else text


def row_label(strategy: str, point: Mapping[str, str]) -> str:
    """Strategy and operating point in words."""
    return " ".join([strategy, *(f"{name}={value}" for name, value in point.items())])


def with_flips(row: PlanRow, rows: Sequence[PlanRow]) -> PlanRow:
    """A row with the rows named whose order with it depends on the cost model."""
    others = [
        other.label
        for other in rows
        if other is not row
        and other.samples == row.samples
        and (other.low - row.low) * (other.high - row.high) < 0
    ]
    return msgspec.structs.replace(row, order_flips=tuple(others))
