"""The leaderboard's columns: which figure of a row, how it is written, under what heading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atts_harness.analysis.html.figure import short
from atts_harness.analysis.leaderboard.rows import Interval, Row

Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: what the cell's figure is called in `leaderboard.json`, dotted.
        title: heading.
        group: heading above.
        value: the figure, as it stands in the JSON; None is shown as a dash and sorts last.
        write: how it is shown.
        more: what stands behind it in small letters.
        about: what it is, for a tooltip.
        extra: shown only with all columns.
    """

    key: str
    title: str
    group: str
    value: Callable[[Row], Value]
    write: Callable[[float], str] = str
    more: Callable[[Row], str] = lambda row: ""
    about: str = ""
    extra: bool = False

    def text(self, row: Row) -> str:
        """What the cell says."""
        value = self.value(row)
        if value is None:
            return "–"
        return value if isinstance(value, str) else self.write(value)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns for some rows; groups of which no row has a figure are left out."""
    most = str(max((int(k) for row in rows for k in row.pass_at), default=1))
    votes = str(max((int(k) for row in rows for k in row.maj_at), default=0))
    kinds = sorted({kind for row in rows for kind in row.calls})
    every = [*_accuracy(most, votes), *_takeover(), *_tokens(), *_time(), *_compute(rows)]
    every += [*_endings(), *_setup(), *(_calls(kind) for kind in kinds)]
    there = {column.group for column in every if any(column.value(row) is not None for row in rows)}
    return [column for column in every if column.group in there]


def _accuracy(most: str, votes: str) -> list[Column]:
    group = "accuracy"
    found = [
        Column(
            "pass_at.1.value",
            "pass@1",
            group,
            lambda r: _of(r.pass_1, "value"),
            _three,
            lambda r: _range(r.pass_1),
            "mean over questions; question-clustered 95 % interval",
        )
    ]
    if most != "1":
        found.append(
            Column(
                f"pass_at.{most}.value",
                f"pass@{most}",
                group,
                lambda r: _of(r.pass_at.get(most), "value"),
                _three,
                lambda r: _range(r.pass_at.get(most)),
                f"chance that one of {most} samples is right",
            )
        )
    if votes != "0":
        found.append(
            Column(
                f"maj_at.{votes}.value",
                f"maj@{votes}",
                group,
                lambda r: _of(r.maj_at.get(votes), "value"),
                _three,
                lambda r: _range(r.maj_at.get(votes)),
                f"chance that the vote of {votes} samples is right",
            )
        )
    return found


def _takeover() -> list[Column]:
    group = "takeover rate"
    return [
        Column(
            "takeover.nominal",
            "nominal",
            group,
            lambda r: r.takeover.nominal if r.takeover else None,
            _three,
            about="the rate that was asked for",
        ),
        Column(
            "takeover.realised.value",
            "realised",
            group,
            lambda r: _of(r.takeover.realised, "value") if r.takeover else None,
            _three,
            lambda r: _range(r.takeover.realised) if r.takeover else "",
            "takeovers among judged turns",
        ),
    ]


def _tokens() -> list[Column]:
    group = "tokens a sample"
    return [
        Column(
            "tokens.target_computed",
            "target computed",
            group,
            lambda r: r.tokens.target_computed,
            _mean,
            about="tokens the target ran a forward pass for: uncached context, scored, written",
        ),
        Column(
            "tokens.target_written",
            "target written",
            group,
            lambda r: r.tokens.target_written,
            _mean,
            about="tokens the target generated",
        ),
        Column(
            "tokens.draft_written",
            "draft written",
            group,
            lambda r: r.tokens.draft_written,
            _mean,
            about="tokens the draft generated, kept or not",
        ),
    ]


def _time() -> list[Column]:
    group = "time"
    return [
        Column(
            "speed.latency_p50",
            "p50 s",
            group,
            lambda r: r.speed.latency_p50,
            _seconds,
            about="median seconds of a sample",
        ),
        Column(
            "speed.latency_p95",
            "p95 s",
            group,
            lambda r: r.speed.latency_p95,
            _seconds,
            about="95 % of samples took at most so many seconds",
        ),
        Column(
            "speed.makespan",
            "makespan s",
            group,
            lambda r: r.speed.makespan,
            _seconds,
            about="from the first sample's start to the last one's end",
        ),
        Column(
            "speed.samples_per_second",
            "samples/s",
            group,
            lambda r: r.speed.samples_per_second,
            short,
            about="samples over makespan",
        ),
        Column(
            "speed.speedup_target_only",
            "× target-only",
            group,
            lambda r: r.speed.speedup_target_only,
            _times,
            about="speedup against target-only of the same pair at the same concurrency",
        ),
        Column(
            "speed.speedup_synchronous",
            "× synchronous",
            group,
            lambda r: r.speed.speedup_synchronous,
            _times,
            about="speedup against synchronous of the same pair at the same concurrency",
        ),
    ]


def _compute(rows: Sequence[Row]) -> list[Column]:
    engines = sorted({engine for row in rows for engine in row.peak_kv})
    found = [
        Column(
            "flops.total",
            "FLOPs",
            "compute",
            lambda r: r.flops.total if r.flops else None,
            short,
            about="floating-point operations a sample: an estimate, 2 x parameters x tokens",
        )
    ]
    found += [
        Column(
            f"peak_kv.{engine}",
            f"peak KV {engine}",
            "compute",
            lambda r, engine=engine: r.peak_kv.get(engine),  # type: ignore[misc]
            _three,
            about="largest share of the KV cache in use that was seen",
        )
        for engine in engines
    ]
    if any(row.dollars for row in rows):
        found.append(
            Column(
                "dollars",
                "$",
                "compute",
                lambda r: sum(r.dollars.values()) if r.dollars else None,
                lambda value: f"{value:.4f}",
                about="dollars of all samples, by the prices given",
            )
        )
    return found


def _endings() -> list[Column]:
    group = "samples"
    return [
        Column("problems", "problems", group, lambda r: r.problems, _count, extra=True),
        Column("repeats", "repeats", group, lambda r: r.repeats, _count, extra=True),
        Column(
            "invalid",
            "invalid",
            group,
            lambda r: r.invalid,
            _count,
            about="ended and gave no answer",
            extra=True,
        ),
        Column(
            "truncated",
            "truncated",
            group,
            lambda r: r.truncated,
            _count,
            about="ended for want of turns, budget or context",
            extra=True,
        ),
        Column(
            "failed",
            "failed",
            group,
            lambda r: r.failed,
            _count,
            about="failed for good; counted as wrong",
            extra=True,
        ),
        Column(
            "missing",
            "missing",
            group,
            lambda r: r.missing,
            _count,
            about="asked for and not there; counted as wrong",
            extra=True,
        ),
        Column("turns", "turns", group, lambda r: r.turns, _mean, about="mean", extra=True),
    ]


def _setup() -> list[Column]:
    group = "set-up"
    return [
        Column("pair.draft", "draft", group, lambda r: r.pair.draft, extra=True),
        Column("pair.target", "target", group, lambda r: r.pair.target, extra=True),
        Column(
            "calibration.source",
            "calibration",
            group,
            lambda r: r.calibration.source if r.calibration else None,
            more=_calibration,
            about="where the scores to rank against come from, and what they cost",
            extra=True,
        ),
    ]


def _calls(kind: str) -> Column:
    return Column(
        f"calls.{kind}.per_sample",
        kind,
        "calls a sample",
        lambda r: r.calls[kind].per_sample if kind in r.calls else None,
        lambda value: f"{value:.2f}",
        extra=True,
    )


def _calibration(row: Row) -> str:
    cost = row.calibration
    if cost is None or cost.target_tokens is None:
        return ""
    return f"{cost.draft_tokens or 0:,} draft and {cost.target_tokens:,} target tokens"


def _of(interval: Interval | None, name: str) -> float | None:
    return None if interval is None else float(getattr(interval, name))


def _range(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:.3f}–{interval.high:.3f}"


def _three(value: float) -> str:
    return f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _mean(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _times(value: float) -> str:
    return f"{value:.2f}×"


def _count(value: float) -> str:
    return f"{value:,.0f}"
