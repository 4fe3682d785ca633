"""What a row cost and how long it took: from a run directory, or from lm-eval's results alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.flops import attended
from atts_harness.analysis.leaderboard.paired import interval_of
from atts_harness.analysis.leaderboard.rows import (
    Calibration,
    Calls,
    Interval,
    Speed,
    Takeover,
    Tokens,
)
from atts_harness.analysis.statistics import clustered_ratio
from atts_harness.errors import AttsError, SettingError
from atts_harness.journal.reader import RecordedRun, nominal_rate, open_run
from atts_harness.ledger.prices import Price
from atts_harness.ledger.recorded import ledger_of
from atts_harness.ledger.statistics import TakeoverCount, computed_tokens, tokens_per_sample
from atts_harness.records import CallTotals, DecisionRecord, TakeoverStatistics, TaskStatistics

CONCURRENCY = (
    *("draft_concurrency", "score_concurrency", "takeover_concurrency"),
    *("target_concurrency", "engine_concurrency", "live_samples"),
)


@dataclass(frozen=True)
class Costs:
    """What is known of a row's cost.

    Attributes:
        totals: sums of calls by "role/kind".
        samples: that were finished.
        kept: kept tokens of all samples; None if not recorded.
        turns: mean a sample.
        takeover: None without decisions.
        speed: without speed-ups.
        peak_kv: by engine.
        pairs: see `flops.attended`; None without a journal.
    """

    totals: dict[str, CallTotals] = field(default_factory=dict)
    samples: int = 0
    kept: float | None = None
    turns: float | None = None
    takeover: Takeover | None = None
    speed: Speed = field(default_factory=Speed)
    peak_kv: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, float] | None = None

    @property
    def roles(self) -> list[str]:
        """Roles that were called."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.totals))

    def computed(self, role: str) -> int:
        """Tokens that a role computed, in all."""
        return computed_tokens(self.totals, role)

    def tokens(self) -> Tokens:
        """A sample; a role that was never called computed nothing, which is known."""
        if not self.samples or not self.totals:
            return Tokens()
        found = tokens_per_sample(self.totals, self.samples, self.kept)
        return Tokens(**msgspec.structs.asdict(found))

    def calls(self) -> dict[str, Calls]:
        """By "role/kind"."""
        return {
            name: Calls(per_sample=t.calls / self.samples, **msgspec.to_builtins(t))
            for name, t in sorted(self.totals.items())
        }

    def dollars(self, prices: Mapping[str, Price]) -> dict[str, float]:
        """By role, for roles that were called and have a price."""
        return {
            role: sum(price.of(t) for t in self._of(role))
            for role, price in prices.items()
            if role in self.roles
        }

    def _of(self, role: str) -> list[CallTotals]:
        return [t for name, t in self.totals.items() if name.startswith(f"{role}/")]


def of_run(run: RecordedRun, task: str) -> Costs:
    """Costs of a task from its run directory.

    Raises:
        SettingError: the journal holds samples and no calls, so there is nothing to count.
    """
    records = [record for record in run.samples() if record.id.task == task]
    if not records:
        raise SettingError(f"{run.path}: task {task} has no finished sample")
    calls = [call for call in run.calls() if call.key.sample.task == task]
    if not calls:
        raise SettingError(
            f"{run.path}: no ledger: the journal holds {len(records)} samples of {task} and no call"
        )
    totals: dict[str, CallTotals] = {}
    for record in records:
        for name, own in record.calls.items():
            totals.setdefault(name, CallTotals()).merge(own)
    waiting = sum(t.queued_seconds for t in totals.values())
    waiting += sum(record.waited_seconds for record in records)
    computing = sum(t.engine_seconds for t in totals.values())
    makespan = max(r.ended for r in records) - min(r.started for r in records)
    latencies = sorted(record.ended - record.started for record in records)
    return Costs(
        totals=totals,
        samples=len(records),
        kept=sum(sum(record.kept_tokens.values()) for record in records),
        turns=sum(record.turns for record in records) / len(records),
        takeover=_takeover(
            [d for r in records for d in r.decisions], nominal_rate(run.record, task)
        ),
        speed=Speed(
            makespan=makespan,
            samples_per_second=len(records) / makespan if makespan > 0 else None,
            latency_p50=nearest_rank(latencies, 50),
            latency_p95=nearest_rank(latencies, 95),
            computing_over_waiting=computing / waiting if waiting > 0 else None,
            concurrency=_concurrency(run.record.settings),
            shared_with=tuple(t for t in sorted(run.record.tasks) if t != task),
        ),
        peak_kv=_peak_kv((engine, figures) for _, engine, figures in run.metrics()),
        pairs=attended(calls),
    )


def of_statistics(record: Mapping[str, Any], task: str) -> Costs:
    """Costs of a task from what our model put into lm-eval's results.

    Args:
        record: `config.atts` of the results.
        task: which task.

    Raises:
        SettingError: there are none.
    """
    told = record.get("statistics", {}).get(task)
    if not told:
        raise SettingError(f"no ledger: config.atts.statistics has nothing of task {task}")
    try:
        found = msgspec.convert(told, TaskStatistics)
    except msgspec.ValidationError as error:
        raise SettingError(f"config.atts.statistics of task {task}: {error}") from error
    rates, seconds, kept = found.takeover, found.seconds, found.tokens_per_sample.kept
    tasks = sorted(record["statistics"])
    ledger = record.get("run", {}).get("ledger", {})
    # The run's ledger has all its tasks in one: what is not of this one is not known.
    alone = ledger if len(tasks) == 1 else {}
    engines = ledger.get("engines", {})
    return Costs(
        totals=found.calls,
        samples=found.samples,
        kept=None if kept is None else kept * found.samples,
        turns=found.turns_per_sample,
        takeover=_rates(rates, None) if rates.decided_turns else None,
        speed=Speed(
            makespan=seconds,
            samples_per_second=found.samples / seconds if seconds else None,
            latency_p50=alone.get("sample_latency", {}).get("p50"),
            latency_p95=alone.get("sample_latency", {}).get("p95"),
            computing_over_waiting=alone.get("intensity", {}).get("ratio"),
            concurrency=_concurrency(record.get("settings", {})),
            shared_with=tuple(t for t in tasks if t != task),
        ),
        peak_kv={
            engine: told["kv_usage"]["max"]
            for engine, told in engines.items()
            if "kv_usage" in told
        },
    )


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """A percentile of ascending values, as one of them."""
    return ordered[min(len(ordered) - 1, -(-percent * len(ordered) // 100) - 1)]


def calibration_of(options: Mapping[str, Any], task: str, near: Path) -> Calibration | None:
    """What calibrating cost a row.

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
        return Calibration(source=source)
    folder = _calibration_run(Path(str(bank)), near)
    if folder is None:
        return Calibration(source=source, bank=str(bank))
    try:
        with open_run(folder) as run:
            ledger = ledger_of(run)
    except AttsError:  # the bank outlives its run; what that cost is then not known
        return Calibration(source=source, bank=str(bank))
    computed = dict.fromkeys(("draft", "target"), 0)
    for name, account in ledger.accounts.items():
        role = name.partition("/")[0]
        computed[role] = computed.get(role, 0) + account.totals.computed_tokens
    return Calibration(
        source=source,
        bank=str(bank),
        run_dir=str(folder),
        draft_tokens=computed["draft"],
        target_tokens=computed["target"],
        seconds=ledger.seconds,
    )


def _takeover(decisions: Sequence[DecisionRecord], nominal: float | None) -> Takeover | None:
    if not decisions:
        return None
    count = TakeoverCount()
    for d in decisions:
        count.add(d)
    taken = [float(d.takeover) for d in decisions if d.judged]
    realised = None
    if taken:
        questions = [d.sample.doc for d in decisions if d.judged]
        found = clustered_ratio(taken, [1.0] * len(taken), questions)
        if len(set(taken)) == 1:  # no spread to take an interval from
            realised = Interval(value=found.value)
        else:
            realised = interval_of(found, ends=(0.0, 1.0))
    return _rates(count.statistics(nominal), realised)


def _rates(found: TakeoverStatistics, realised: Interval | None) -> Takeover:
    if realised is None and found.realised_rate is not None:
        realised = Interval(value=found.realised_rate)
    return Takeover(
        nominal=found.nominal_rate,
        realised=realised,
        judged=found.judged_turns,
        takeovers=found.takeovers,
        apart=found.counted_apart,
    )


def _concurrency(settings: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(settings[name]) for name in CONCURRENCY if name in settings}


def _peak_kv(metrics: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    peak: dict[str, float] = {}
    for engine, figures in metrics:
        if "kv_usage" in figures:
            peak[engine] = max(peak.get(engine, 0.0), figures["kv_usage"])
    return peak


def _calibration_run(bank: Path, near: Path) -> Path | None:
    """`atts calibrate` keeps its run beside the bank."""
    for folder in (Path(), *near.resolve().parents):
        run = folder / bank.with_name(f"{bank.name}.run")
        if run.is_dir():
            return run
    return None
