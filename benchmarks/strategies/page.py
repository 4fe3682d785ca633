"""The page: one table of accuracy and cost, one of calls, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import quantiles

from atts_harness.analysis.statistics import Estimate, clustered_mean, paired_difference
from atts_harness.ledger.statistics import TakeoverCount
from atts_harness.records import CallTotals, SampleRecord
from atts_harness.results.statistics import TakeoverStatistics
from benchmarks.strategies.rows import ROWS, Row


class Measured:
    """A row's samples and figures."""

    def __init__(self, records: list[SampleRecord], right: list[bool]) -> None:
        self.records = records
        self.right = [float(r) for r in right]
        self.questions = [record.id.doc for record in records]
        self.calls: dict[str, CallTotals] = {}
        for record in records:
            for name, totals in record.calls.items():
                self.calls.setdefault(name, CallTotals()).merge(totals)

    @property
    def accuracy(self) -> Estimate:
        """pass@1, clustered by question."""
        return clustered_mean(self.right, self.questions, bounds=(0.0, 1.0))

    def minus(self, other: Measured) -> Estimate:
        """Difference of accuracies, paired by question."""
        return paired_difference(self.right, self.questions, other.right, other.questions)

    def tokens(self, role: str, what: str) -> float:
        """Tokens of a role a sample: `computed_tokens` or `completion_tokens`."""
        own = [totals for name, totals in self.calls.items() if name.startswith(f"{role}/")]
        return float(sum(getattr(totals, what) for totals in own)) / len(self.records)

    @property
    def branches(self) -> Counter[str]:
        """Speculative thinking: how often each branch was taken."""
        return sum((Counter(r.notes.get("branches", {})) for r in self.records), Counter())

    @property
    def judged(self) -> list[bool]:
        """SpecReason: for each judged step, whether it was kept."""
        return [step["kept"] for r in self.records for step in r.notes.get("judged", ())]

    @property
    def takeover(self) -> TakeoverStatistics:
        """How often the target took over."""
        count = TakeoverCount()
        for record in self.records:
            for decision in record.decisions:
                count.add(decision)
        return count.statistics()

    def seconds(self, percentile: int) -> float:
        """Percentile of the seconds from a sample's admission to its end."""
        return quantiles((r.ended - r.started for r in self.records), n=100)[percentile - 1]

    def share(self, name: str) -> float:
        """Share of samples with a truthy field."""
        return sum(bool(getattr(record, name)) for record in self.records) / len(self.records)


def page(measured: Mapping[str, Measured], intro: str) -> str:
    """Markdown."""
    rows = [row for row in ROWS if row.title in measured]
    parts = [
        "# Strategies side by side",
        intro,
        _accuracy(rows, measured),
        "*computed* tokens are those the model ran a forward pass for: context that no cache held, "
        "scored and written ones; *written* are generated, kept or not. Seconds are of one sample, "
        "from its admission to its end.",
        "## Against takeover at random\n\n" + _verdicts(rows, measured),
        "## Calls a sample\n\n" + _calls(rows, measured),
        "## What the judging strategies decided\n\n" + _judgements(rows, measured),
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    lines = [
        "| strategy | pass@1 [95 %] | takeover rate | target tokens computed | written "
        "| draft tokens computed | written | truncated | s p50 | s p95 |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        m = measured[row.title]
        rate = None if row.strategy == "draft-only" else m.takeover.realised_rate
        cells = [
            row.title,
            f"{m.accuracy.value:.3f} {_interval(m.accuracy)}",
            "" if rate is None else f"{rate:.3f}",
            *(
                f"{m.tokens(role, what):.0f}"
                for role in ("target", "draft")
                for what in ("computed_tokens", "completion_tokens")
            ),
            f"{m.share('truncated'):.3f}",
            f"{m.seconds(50):.2f}",
            f"{m.seconds(95):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdicts(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    lines = [
        "Paired by question: the same problems, repeats and seeds. The coin takes over as often as "
        "ATTS really did.",
        "",
    ]
    for row in rows:
        if row.against is None or row.against not in measured:
            continue
        difference = measured[row.title].minus(measured[row.against])
        lines.append(
            f"- **{row.title}** minus {row.against}: {difference.value:+.3f} "
            f"{_interval(difference)}: {_words(row.title, difference)}"
        )
    return "\n".join(lines)


def _words(title: str, difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "one problem only, no interval."
    if difference.low > 0:
        return f"{title} beats takeover at random."
    if difference.high < 0:
        return f"{title} is worse than takeover at random."
    return f"{title} does not beat takeover at random, as far as this n can tell."


def _calls(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    kinds = sorted({name for row in rows for name in measured[row.title].calls})
    lines = [f"| strategy | {' | '.join(kinds)} |", "|---|" + "--:|" * len(kinds)]
    for row in rows:
        m = measured[row.title]
        counts = [m.calls.get(kind, CallTotals()).calls / len(m.records) for kind in kinds]
        cells = ["" if count == 0 else f"{count:.2f}" for count in counts]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _judgements(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    """Counts over all samples: a branch that hardly occurs says nothing about its row."""
    branches = sorted({name for row in rows for name in measured[row.title].branches})
    taken = [f"| branches of | {' | '.join(branches)} |", "|---|" + "--:|" * len(branches)]
    kept = ["| acceptance of | steps judged | kept | share kept |", "|---|--:|--:|--:|"]
    for row in rows:
        counts, judged = measured[row.title].branches, measured[row.title].judged
        if row.strategy == "speculative-thinking":
            taken.append(f"| {row.title} | {' | '.join(str(counts[b]) for b in branches)} |")
        elif row.strategy == "specreason":
            share = f"{sum(judged) / len(judged):.3f}" if judged else ""
            kept.append(f"| {row.title} | {len(judged)} | {sum(judged)} | {share} |")
    return "\n\n".join("\n".join(table) for table in (taken, kept) if len(table) > 2)


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"
