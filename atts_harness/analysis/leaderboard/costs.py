"""What a row cost and how long it took: from a run directory, or from lm-eval's results alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.flops import attend
from atts_harness.analysis.leaderboard.rows import Interval, Takeover
from atts_harness.analysis.leaderboard.spent import CalibrationCost, CallSums, Speed
from atts_harness.errors import AttsError, SettingError
from atts_harness.journal.reader import RecordedRun, nominal_rate, open_run
from atts_harness.ledger.prices import Price
from atts_harness.ledger.recorded import ledger_of
from atts_harness.ledger.speculation import accepted_by_engines, accepted_of
from atts_harness.ledger.statistics import (
    TaskCount,
    computed_tokens,
    nearest_rank,
    tokens_per_sample,
)
from atts_harness.records import CallTotals, SampleId
from atts_harness.results.plain_json import number
from atts_harness.results.statistics import TakeoverStatistics, TaskStatistics, TokensPerSample
from atts_harness.results.values import Results

CONCURRENCY = (
    *("draft_concurrency", "score_concurrency", "takeover_concurrency"),
    *("target_concurrency", "engine_concurrency", "live_samples"),
)


@dataclass(frozen=True)
class RowCosts:
    """The costs of a row, as far as they were recorded.

    Attributes:
        statistics: figures of its finished samples; None for a row of another lm-eval model.
        takeover: how often the target took over; None for a strategy without decisions.
        speed: times, still without speed-ups over other rows.
        peak_kv: largest share of the KV cache in use, by engine.
        accepted: see `Row.accepted`.
        pairs: pairs of tokens that attention computed, by role (`flops.attend`); None without a
            journal.
    """

    statistics: TaskStatistics | None = None
    takeover: Takeover | None = None
    speed: Speed = field(default_factory=Speed)
    peak_kv: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, float] | None = None

    @property
    def answers(self) -> int:
        """The divisor of means: finished samples, or the problems that samples vote on."""
        return 0 if self.statistics is None else self.statistics.answers

    @property
    def totals(self) -> Mapping[str, CallTotals]:
        """Sums of calls by "role/kind"."""
        return {} if self.statistics is None else self.statistics.calls

    @property
    def roles(self) -> list[str]:
        """Roles that were called."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.totals))

    def computed(self, role: str) -> int:
        """Tokens that a role computed, in all."""
        return computed_tokens(self.totals, role)

    def tokens(self) -> TokensPerSample:
        """Mean tokens a sample. 0, not None, for a role that was never called."""
        if self.statistics is None or not self.totals:
            return TokensPerSample()
        if self.statistics.vote is not None:
            return self.statistics.vote.tokens_per_problem
        kept_tokens = self.statistics.tokens_per_sample.kept
        return tokens_per_sample(
            self.totals, self.answers, None if kept_tokens is None else kept_tokens * self.answers
        )

    def calls(self) -> dict[str, CallSums]:
        """By "role/kind"."""
        return {
            name: CallSums(per_sample=t.calls / self.answers, **msgspec.to_builtins(t))
            for name, t in sorted(self.totals.items())
        }

    def dollars(self, prices: Mapping[str, Price]) -> dict[str, float]:
        """By role, for roles that were called and have a price."""
        return {
            role: sum(price.of(t) for name, t in self.totals.items() if name.startswith(f"{role}/"))
            for role, price in prices.items()
            if role in self.roles
        }


def of_run(run: RecordedRun, task: str, ids: Set[SampleId] | None = None) -> RowCosts:
    """Costs of a task from its run directory, read in one pass without texts.

    Args:
        run: the run.
        task: which task.
        ids: the samples of the row; None: all of the task.

    Raises:
        SettingError: the journal holds samples and no calls, so there is nothing to count.
    """
    count, latencies, waited = TaskCount(), array("d"), 0.0
    for record in run.sample_figures(task):
        if ids is not None and record.id not in ids:
            continue
        count.add(record)
        latencies.append(record.ended - record.started)
        waited += record.waited_seconds
    if not count.samples:
        raise SettingError(f"{run.path}: task {task} has no finished sample")
    statistics = count.statistics(nominal_rate(run.record, task))
    has_calls = False
    pairs: dict[str, float] = {}
    for call in run.call_figures(task=task):
        if ids is None or call.key.sample in ids:
            has_calls = True
            attend(pairs, call)
    imported = bool(run.record.imported)
    if not has_calls and not imported:
        raise SettingError(
            f"{run.path}: no ledger: the journal holds {statistics.samples} samples of {task} and "
            "no call"
        )
    waiting = waited + sum(t.queued_seconds for t in statistics.calls.values())
    computing = sum(t.engine_seconds for t in statistics.calls.values())
    ordered, vote = sorted(latencies), statistics.vote
    shared = tuple(t for t in sorted(run.record.tasks) if t != task)
    speed = _speed(statistics, run.record.settings, shared)
    if imported:  # each sample has a clock of its own, if any
        speed = msgspec.structs.replace(speed, makespan=None, samples_per_second=None)
        ordered = ordered if all(ordered) else []  # 0: not recorded
    rates = statistics.takeover
    return RowCosts(
        statistics=statistics,
        takeover=_rates(rates) if rates.decided_turns else None,
        speed=msgspec.structs.replace(
            speed,
            latency_p50=_percentile(ordered, 50) if vote is None else vote.seconds_p50,
            latency_p95=_percentile(ordered, 95) if vote is None else vote.seconds_p95,
            computing_over_waiting=computing / waiting if waiting > 0 else None,
        ),
        peak_kv=_peak_kv((engine, figures) for _, engine, figures in run.metrics()),
        accepted=accepted_by_engines(run.metrics()) | accepted_of(statistics.calls),
        pairs=pairs,
    )


def of_results(results: Results, task: str) -> RowCosts:
    """Costs of a task from what our model put into lm-eval's results.

    Raises:
        SettingError: there are none.
    """
    statistics = results.tasks[task].statistics
    if results.run is None or statistics is None or not statistics.samples:
        raise SettingError(f"no ledger: config.atts.statistics has nothing of task {task}")
    rates, vote = statistics.takeover, statistics.vote
    measured = [
        name for name, task_results in results.tasks.items() if task_results.statistics is not None
    ]
    shared = tuple(t for t in sorted(measured) if t != task)
    # The run's ledger sums all its tasks, so with several tasks the share of this one is unknown.
    latency = {} if shared else _mapping(results.ledger.get("sample_latency"))
    intensity = {} if shared else _mapping(results.ledger.get("intensity"))
    engines = _mapping(results.ledger.get("engines"))
    usage = {name: _mapping(_mapping(figures).get("kv_usage")) for name, figures in engines.items()}
    return RowCosts(
        statistics=statistics,
        takeover=_rates(rates) if rates.decided_turns else None,
        speed=msgspec.structs.replace(
            _speed(statistics, results.run.settings, shared),
            latency_p50=number(latency.get("p50")) if vote is None else vote.seconds_p50,
            latency_p95=number(latency.get("p95")) if vote is None else vote.seconds_p95,
            computing_over_waiting=number(intensity.get("ratio")),
        ),
        accepted=accepted_of(statistics.calls),
        peak_kv={
            name: most for name, shares in usage.items() if (most := number(shares.get("max")))
        },
    )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    return nearest_rank(ordered, percent) if ordered else None


def calibration_of(options: Mapping[str, Any], task: str, near: Path) -> CalibrationCost | None:
    """What a row's calibration cost.

    Args:
        options: the strategy's, as used on the task.
        task: which task.
        near: where the row was found; a bank may lie relative to a folder above it.
    """
    if "calibration" not in options:
        return None
    bank = options.get("bank")
    source = str(options["calibration"])
    if source == "auto":
        source = "file" if bank else "online"
    if source != "file" or not bank:
        return CalibrationCost(source=source)
    folder = _calibration_run(Path(str(bank)), near)
    if folder is None:
        return CalibrationCost(source=source, bank=str(bank))
    try:
        with open_run(folder) as run:
            ledger = ledger_of(run)
    except AttsError:  # the bank outlives its run; what that cost is then not known
        return CalibrationCost(source=source, bank=str(bank))
    computed = dict.fromkeys(("draft", "target"), 0)
    for name, account in ledger.accounts.items():
        role = name.partition("/")[0]
        computed[role] = computed.get(role, 0) + account.totals.computed_tokens
    return CalibrationCost(
        source=source,
        bank=str(bank),
        run_dir=str(folder),
        draft_tokens=computed["draft"],
        target_tokens=computed["target"],
        seconds=ledger.seconds,
    )


def _speed(
    statistics: TaskStatistics, settings: Mapping[str, Any], shared: tuple[str, ...]
) -> Speed:
    drawn = statistics.samples if statistics.vote is None else statistics.vote.drawn
    return Speed(
        makespan=statistics.seconds,
        samples_per_second=drawn / statistics.seconds if statistics.seconds else None,
        concurrency={
            n: int(settings[n]) for n in CONCURRENCY if number(settings.get(n)) is not None
        },
        shared_with=shared,
    )


def _realised(rates: TakeoverStatistics) -> Interval | None:
    """The realised rate; results of earlier versions have no interval of it."""
    if rates.realised_rate is None:
        return None
    if rates.judged_problems is None:
        return Interval(value=rates.realised_rate)
    low, high = rates.realised_interval or (None, None)
    return Interval(
        value=rates.realised_rate,
        stderr=rates.realised_stderr,
        low=low,
        high=high,
        items=rates.judged_turns,
        clusters=rates.judged_problems,
    )


def _rates(rates: TakeoverStatistics) -> Takeover:
    return Takeover(
        nominal=rates.nominal_rate,
        realised=_realised(rates),
        judged=rates.judged_turns,
        takeovers=rates.takeovers,
        taken_over=rates.taken_over_rate,
        unjudged=rates.unjudged_rate,
        shares={"score-failed": 0.0, "empty-draft": 0.0} | rates.shares_apart,
        apart=rates.counted_apart,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _peak_kv(metrics: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    peak: dict[str, float] = {}
    for engine, figures in metrics:
        if "kv_usage" in figures:
            peak[engine] = max(peak.get(engine, 0.0), figures["kv_usage"])
    return peak


def _calibration_run(bank: Path, near: Path) -> Path | None:
    """The run directory of a bank: `atts calibrate` leaves it beside the bank."""
    for folder in (Path(), *near.resolve().parents):
        run = folder / bank.with_name(f"{bank.name}.run")
        if run.is_dir():
            return run
    return None
