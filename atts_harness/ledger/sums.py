"""The ledger: what a run's calls cost, in tokens, seconds and dollars.

It is a sum over the journal's records, made during the run or later from a run directory; the
two agree. Seconds are the run's own clock; tokens are the engines' own counts.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from atts_harness.lanes import LANES, Lane, lane_of
from atts_harness.ledger.prices import Price
from atts_harness.records import EXTRACTOR, CallRole, CallTotals, CountedCall, SampleRecord

PERCENTILES = (50, 90, 95, 99)


class Distribution:
    """Values and their percentiles; 8 bytes a value.

    Args:
        most: values that are kept; of more, a random choice of this size is kept, and figures are
            of that choice. 0: all are kept.
    """

    def __init__(self, most: int = 0) -> None:
        self._values = array("d")
        self._most = most
        self._added = 0
        self._random = random.Random(0)

    def add(self, value: float) -> None:
        """Count one in."""
        self._added += 1
        if not self._most or len(self._values) < self._most:
            self._values.append(value)
        elif (place := self._random.randrange(self._added)) < self._most:
            self._values[place] = value  # every value is kept with the same probability

    def summary(self) -> dict[str, float]:
        """Count, mean, percentiles (nearest rank) and maximum; empty if there are no values."""
        if not self._values:
            return {}
        ordered = sorted(self._values)
        count = len(ordered)
        ranks = {f"p{p}": ordered[min(count - 1, -(-p * count // 100) - 1)] for p in PERCENTILES}
        return {"count": self._added, "mean": sum(ordered) / count, **ranks, "max": ordered[-1]}


@dataclass
class Account:
    """The calls of one role and kind.

    Attributes:
        totals: sums.
        faults: failed tries, by the error's type.
        kept: generated tokens that became part of a sample.
        discarded: generated tokens that were thrown away by the strategy.
        queued: seconds between asking and the last try, failed tries left out.
        engine: seconds of the last try.
        first_token: seconds to the first token, if the engine reports them.
    """

    totals: CallTotals = field(default_factory=CallTotals)
    faults: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    discarded: int = 0
    queued: Distribution = field(default_factory=Distribution)
    engine: Distribution = field(default_factory=Distribution)
    first_token: Distribution = field(default_factory=Distribution)

    def summary(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {
            **msgspec.to_builtins(self.totals),
            "kept_tokens": self.kept,
            "discarded_tokens": self.discarded,
            "faults": dict(sorted(self.faults.items())),
            "queued": self.queued.summary(),
            "engine": self.engine.summary(),
            "first_token": self.first_token.summary(),
        }


class Ledger:
    """Sums of a run; feed it every call and every finished sample.

    Args:
        slots: most calls in flight, by lane, for the idle share.
        prices: dollars per million tokens, by role.
        most: values that percentiles are computed from, for a session without an end; 0: all.
    """

    def __init__(
        self,
        slots: Mapping[Lane, int] | None = None,
        prices: Mapping[CallRole, Price] | None = None,
        most: int = 0,
    ) -> None:
        self.accounts: dict[str, Account] = {}
        self.samples: Counter[str] = Counter()
        self._most = most
        self.latency = Distribution(most)
        self.engines: dict[str, dict[str, Distribution]] = {}
        self.gathered_seconds = 0.0
        self.last = 0.0
        self._slots = dict(slots or {})
        self._prices = dict(prices or {})
        self._busy: dict[Lane, float] = dict.fromkeys(LANES, 0.0)
        self._first: float | None = None

    def add_call(self, record: CountedCall) -> None:
        """Count a call in, failed tries included."""
        key = record.key
        account = self._account(f"{key.role}/{key.kind}")
        account.totals.add(record)
        lost = 0.0
        for fault in record.faults:
            account.faults[fault.error] += 1
            lost += fault.done - fault.sent
        answered = 0.0 if record.reply is None else record.done - record.sent
        waited = record.done - record.queued - lost - answered
        account.queued.add(max(0.0, waited))
        if record.usage is not None:
            account.engine.add(answered)
            if record.usage.time_to_first_token is not None:
                account.first_token.add(record.usage.time_to_first_token)
        if key.role == EXTRACTOR:
            return  # it comes when a sample is done: a cost, but no part of the strategy's time
        self._busy[lane_of(key.role, key.kind)] += lost + answered
        self._first = record.queued if self._first is None else min(self._first, record.queued)
        self.last = max(self.last, record.done)

    def add_sample(self, record: SampleRecord) -> None:
        """Count a finished sample in."""
        self.samples["finished" if record.failed is None else "failed"] += 1
        self.samples["truncated"] += record.truncated
        self.latency.add(record.ended - record.started)
        self.gathered_seconds += record.waited_seconds
        self.last = max(self.last, record.ended)
        for segment in record.segments:
            account = self.accounts.get(f"{segment.author}/{segment.kind}")
            if account is None:
                continue  # inserted text, or a segment that a strategy renamed
            if segment.kept:
                account.kept += segment.tokens
            else:
                account.discarded += segment.tokens

    def add_figures(self, at: float, engine: str, figures: Mapping[str, float]) -> None:
        """Count an engine's own figures in: `kv_usage`, `running`, `waiting`, ..."""
        distributions = self.engines.setdefault(engine, {})
        for name, value in figures.items():
            distributions.setdefault(name, Distribution(self._most)).add(value)

    @property
    def seconds(self) -> float:
        """Seconds from the first request to the last record."""
        return max(0.0, self.last - (self._first or 0.0))

    def summary(self) -> dict[str, Any]:
        """The run's sums, as plain data that JSON can hold."""
        return {
            "seconds": self.seconds,
            "samples": dict(self.samples),
            "sample_latency": self.latency.summary(),
            "calls": {name: a.summary() for name, a in sorted(self.accounts.items())},
            "throughput": self._throughput(),
            "slots": self._slot_use(),
            "intensity": self._intensity(),
            "engines": {
                engine: {
                    name: distribution.summary() for name, distribution in sorted(figures.items())
                }
                for engine, figures in sorted(self.engines.items())
            },
            "cost": self._cost(),
        }

    def _account(self, name: str) -> Account:
        account = self.accounts.get(name)
        if account is None:
            times = [Distribution(self._most) for _ in range(3)]
            account = Account(queued=times[0], engine=times[1], first_token=times[2])
            self.accounts[name] = account
        return account

    def _throughput(self) -> dict[str, float]:
        """Per second, by role: tokens written and computed, calls; and finished samples."""
        seconds = self.seconds
        if not seconds:
            return {}
        rates: dict[str, float] = {"samples": sum(self._done()) / seconds}
        for name, account in self.accounts.items():
            role = name.partition("/")[0]
            for unit, amount in (
                ("calls", account.totals.calls),
                ("written_tokens", account.totals.completion_tokens),
                ("computed_tokens", account.totals.computed_tokens),
            ):
                before = rates.get(f"{role}_{unit}", 0.0)
                rates[f"{role}_{unit}"] = before + amount / seconds
        return rates

    def _done(self) -> Iterable[int]:
        return (self.samples["finished"], self.samples["failed"])

    def _slot_use(self) -> dict[str, dict[str, float]]:
        """By lane: its bound, the seconds its slots were held, and the share they were idle."""
        use: dict[str, dict[str, float]] = {}
        for lane, bound in self._slots.items():
            available = bound * self.seconds
            idle = 1 - self._busy[lane] / available if available else 0.0
            use[lane] = {"bound": bound, "busy_seconds": self._busy[lane], "idle_share": idle}
        return use

    def _intensity(self) -> dict[str, float | None]:
        """The paper's asynchronous arithmetic intensity, r = T_c / (T_m + T_s).

        T_c is the time that samples' requests spend in the engines. T_s is the time that samples
        wait for others: for siblings (`gathered`) and for slots (`queued`). T_m, the time an
        engine moves memory instead of computing, cannot be told from outside: it is in T_c.
        """
        totals_of_models = [
            a.totals for n, a in self.accounts.items() if n.partition("/")[0] != EXTRACTOR
        ]
        computing = sum(totals.engine_seconds for totals in totals_of_models)
        queued = sum(totals.queued_seconds for totals in totals_of_models)
        waiting = queued + self.gathered_seconds
        return {
            "computing_seconds": computing,
            "queued_seconds": queued,
            "gathered_seconds": self.gathered_seconds,
            "ratio": computing / waiting if waiting else None,
        }

    def _cost(self) -> dict[str, float]:
        """Dollars by role, for the roles with a price."""
        cost: dict[str, float] = {}
        for name, account in self.accounts.items():
            role = name.partition("/")[0]
            for priced, price in self._prices.items():
                if priced == role:
                    cost[role] = cost.get(role, 0.0) + price.of(account.totals)
        return cost


def waiting_ratio(record: SampleRecord) -> float | None:
    """One sample's r = T_c / T_s (see `Ledger`); None if it never waited."""
    computing = sum(totals.engine_seconds for totals in record.calls.values())
    queued = sum(totals.queued_seconds for totals in record.calls.values())
    waiting = queued + record.waited_seconds
    return computing / waiting if waiting else None
