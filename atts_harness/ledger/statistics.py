"""Statistics of a task's samples, counted one sample at a time.

lm-eval's results, the leaderboard and the controls all take their sums from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET

from atts_harness.grading.extraction import LLM
from atts_harness.records import (
    ABSENT,
    NOT_EXTRACTED,
    CallTotals,
    DecisionRecord,
    SampleFigures,
)
from atts_harness.results.statistics import (
    ExtractionStatistics,
    TakeoverStatistics,
    TaskStatistics,
    TokensPerSample,
    VoteStatistics,
)


class TakeoverCount:
    """Counts decisions of one task."""

    def __init__(self) -> None:
        self._judged: Counter[int] = Counter()
        self._taken: Counter[int] = Counter()
        self._apart: Counter[str] = Counter()

    def add(self, decision: DecisionRecord) -> None:
        """Count one in."""
        if decision.judged:
            self._judged[decision.sample.doc] += 1
            self._taken[decision.sample.doc] += decision.takeover
        else:
            self._apart[decision.reason] += 1

    def statistics(self, nominal: float | None = None) -> TakeoverStatistics:
        """The counts so far.

        Args:
            nominal: the rate in the settings.
        """
        turns = self._judged.total()
        if not turns:
            return TakeoverStatistics(
                nominal_rate=nominal,
                judged_problems=0,
                counted_apart=dict(sorted(self._apart.items())),
            )
        from atts_harness.analysis.statistics import clustered_ratio  # imports numpy and scipy

        takeovers = [self._taken[doc] for doc in self._judged]
        rate = clustered_ratio(takeovers, list(self._judged.values()), list(self._judged))
        ends = None if rate.low is None or rate.high is None else (rate.low, rate.high)
        return TakeoverStatistics(
            nominal_rate=nominal,
            realised_rate=rate.value,
            realised_interval=ends,
            realised_stderr=rate.stderr,
            judged_problems=rate.clusters,
            judged_turns=turns,
            takeovers=self._taken.total(),
            counted_apart=dict(sorted(self._apart.items())),
        )


class TaskCount:
    """Counts the finished samples of one task; keeps sums, not samples."""

    def __init__(self) -> None:
        self.samples = 0
        self.takeover = TakeoverCount()
        self._problems: set[int] = set()
        self._failed = self._truncated = self._turns = self._kept = 0
        self._finish: Counter[str] = Counter()
        self._calls: dict[str, CallTotals] = {}
        self._extracted = 0
        self._not_extracted: Counter[str] = Counter()
        self._first, self._last = float("inf"), float("-inf")
        self._absent: Counter[str] = Counter()
        self._spans: dict[int, tuple[float, float]] = {}  # of problems whose samples vote

    def add(self, record: SampleFigures) -> None:
        """Count one in."""
        self.samples += 1
        self._problems.add(record.id.doc)
        self._failed += record.failed is not None
        self._truncated += record.truncated
        self._turns += record.turns
        self._kept += sum(record.kept_tokens.values())
        self._finish[record.finish] += 1
        for decision in record.decisions:
            self.takeover.add(decision)
        for name, totals in record.calls.items():
            self._calls.setdefault(name, CallTotals()).merge(totals)
        self._extracted += LLM in record.answers
        if NOT_EXTRACTED in record.notes:
            self._not_extracted[str(record.notes[NOT_EXTRACTED]).partition(":")[0]] += 1
        if record.finish in ABSENT:
            self._absent[record.finish] += 1
        if record.weight is not None:
            first, last = self._spans.get(record.id.doc, (record.started, record.ended))
            span = (min(first, record.started), max(last, record.ended))
            self._spans[record.id.doc] = span
        self._first = min(self._first, record.started)
        self._last = max(self._last, record.ended)

    def statistics(self, nominal: float | None = None) -> TaskStatistics:
        """The counts so far.

        Args:
            nominal: the takeover rate that was asked for; None for a strategy without one.

        Raises:
            ValueError: no sample was counted.
        """
        if not self.samples:
            raise ValueError("statistics of no samples")
        extractor_ran = self._extracted or self._not_extracted
        drawn = max(1, self.samples - self._absent["not-drawn"])
        return TaskStatistics(
            problems=len(self._problems),
            samples=self.samples,
            failed=self._failed,
            truncated=self._truncated,
            finish=dict(sorted(self._finish.items())),
            turns_per_sample=self._turns / drawn,
            takeover=self.takeover.statistics(nominal),
            llm_extraction=ExtractionStatistics(
                extracted=self._extracted,
                failed=self._not_extracted.total(),
                why=dict(sorted(self._not_extracted.items())) or UNSET,
            )
            if extractor_ran
            else None,
            tokens_per_sample=tokens_per_sample(self._calls, drawn, self._kept),
            calls=dict(sorted(self._calls.items())),
            seconds=self._last - self._first,
            vote=self._vote() if self._spans else None,
        )

    def _vote(self) -> VoteStatistics:
        seconds = sorted(last - first for first, last in self._spans.values())
        undrawn = self._absent["not-drawn"]
        return VoteStatistics(
            drawn=self.samples - undrawn,
            stopped=self._absent["stopped"],
            not_drawn=undrawn,
            tokens_per_problem=tokens_per_sample(self._calls, len(self._spans), self._kept),
            seconds_p50=nearest_rank(seconds, 50),
            seconds_p95=nearest_rank(seconds, 95),
        )


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """A percentile of ascending values by nearest rank, so always one of the values."""
    return ordered[min(len(ordered) - 1, -(-percent * len(ordered) // 100) - 1)]


def by_task(
    records: Iterable[SampleFigures], nominal: Mapping[str, float | None]
) -> dict[str, TaskStatistics]:
    """Statistics of finished samples by their task.

    Args:
        records: finished samples.
        nominal: by task the takeover rate that was asked for, None for a strategy without one.
    """
    counts: dict[str, TaskCount] = {}
    for record in records:
        counts.setdefault(record.id.task, TaskCount()).add(record)
    return {task: count.statistics(nominal.get(task)) for task, count in counts.items()}


def computed_tokens(calls: Mapping[str, CallTotals], role: str) -> int:
    """Tokens that a role computed, from sums by "role/kind"."""
    return sum(t.computed_tokens for name, t in calls.items() if name.startswith(f"{role}/"))


def tokens_per_sample(
    calls: Mapping[str, CallTotals], samples: int, kept: float | None
) -> TokensPerSample:
    """Mean tokens a sample.

    Args:
        calls: sums over the samples by "role/kind".
        samples: how many.
        kept: kept tokens of all samples, None if they are not known.
    """

    def written(role: str) -> int:
        return sum(t.completion_tokens for name, t in calls.items() if name.startswith(f"{role}/"))

    return TokensPerSample(
        draft_computed=computed_tokens(calls, "draft") / samples,
        draft_written=written("draft") / samples,
        target_computed=computed_tokens(calls, "target") / samples,
        target_written=written("target") / samples,
        kept=None if kept is None else kept / samples,
    )


def intensity_in_words(ratio: float) -> str:
    """Time in engines over time waiting for others; waiting may be next to nothing."""
    if ratio > MOST_TOLD:
        return f">{MOST_TOLD:,}"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


MOST_TOLD = 1000
"""A ratio above it means that nothing waits; its exact value has no meaning."""


def unjudged_in_words(apart: Mapping[str, int], decided: int) -> str:
    """A note on turns that were taken over without a score; "" if there are none.

    Args:
        apart: such turns by reason.
        decided: all turns with a decision.
    """
    count = sum(apart.values())
    if not count:
        return ""
    ordered = sorted(apart.items(), key=lambda item: (-item[1], item[0] != "score-failed"))
    shares = ", ".join(f"{reason} {n / decided:.1%}" for reason, n in ordered if n)
    words = (
        f"{count:,} of {decided:,} turns ({count / decided:.1%}) were taken over without being "
        f"judged ({shares}); they are not in the realised rate"
    )
    if count == decided:
        words += ". No turn was judged, so this is takeover of every turn, whatever the strategy"
    return words
