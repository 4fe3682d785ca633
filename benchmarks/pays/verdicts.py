"""The tables and verdicts of docs/does-it-pay.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atts_harness.analysis.statistics import Estimate
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from benchmarks.pays.frontier import (
    CURRENCIES,
    DRAFT,
    FAMILIES,
    TARGET,
    accuracy,
    at_budget,
    cost,
    family,
    frontier,
    minus,
    title,
    verdict,
)
from benchmarks.pays.marked import table
from benchmarks.pays.measured import PLAN, Config
from benchmarks.pays.measured import Found as Measured
from benchmarks.pays.pairs import GPUS
from benchmarks.pays.simulated import SAMPLES, SHOWN, Row, name_of
from benchmarks.pays.simulated import Found as Simulated

BUDGETS = (0.5, 1.0, 2.0)
PRICES = {"h100": 2.5, "a100": 1.5}
"""Dollars a GPU and hour that are assumed."""


def interval(found: Estimate, sign: str = "") -> str:
    """A figure with its interval."""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.2f}"
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


def target_of(found: Sequence[Config], votes: int = 1) -> Config:
    """The target alone, with votes over its samples."""
    return next(one for one in found if one.name == TARGET and one.votes == votes)


def measured_parts(found: Measured) -> dict[str, str]:
    """Parts of the page by name."""
    configs = found.configs
    return {
        "size": size(found),
        "verdicts": verdict_table(configs),
        "budgets": budget_table(configs),
        "rows": rows_table(configs),
    }


def size(found: Measured) -> str:
    """How much was measured, and where."""
    names = {one.name for one in found.configs}
    plan = [cell.row for cell in expand(read_plan(PLAN))]
    left = [f"`{row}`" for row in plan if row not in names]
    words = (
        f"{found.problems} problems x {found.repeats} samples of `atts_chain`. Load of the machine "
        f"of two cores at its end: {found.load} (1, 5, 15 minutes)."
    )
    if left:
        words += f"\n\n{len(left)} of {len(plan)} rows are not measured yet: {', '.join(left)}."
    return words


def verdict_table(configs: Sequence[Config]) -> str:
    """A verdict a method and currency, against one sample of the target and votes over several."""
    heads = ["method"]
    for votes in (1, 4):
        target = target_of(configs, votes)
        what = "one sample" if votes == 1 else f"a vote of {votes}"
        heads += [
            f"against {what} of the target ({accuracy(target).value:.3f}), in {words}"
            for words in CURRENCIES.values()
        ]
    rows = []
    for name in FAMILIES:
        own = family(configs, name)
        if not own:
            continue
        cells = [name]
        for votes in (1, 4):
            for currency in CURRENCIES:
                cells.append(_verdict(own, target_of(configs, votes), currency))
        rows.append(cells)
    return table(heads, rows, left=len(heads))


def _verdict(own: Sequence[Config], target: Config, currency: str) -> str:
    found = verdict(own, target, currency)
    if found.config is None or found.ratio is None:
        return f"**{found.words}**"
    return f"**{found.words}**: {interval(found.ratio)} times its cost, at `{title(found.config)}`"


def budget_table(configs: Sequence[Config]) -> str:
    """The best accuracy at matched budgets, less what the target reaches at the same."""
    lines = []
    plain = [one for one in configs if one.name in (TARGET, DRAFT)]
    for currency, words in CURRENCIES.items():
        one = cost(target_of(configs), currency)
        heads = ["method", *(f"{b:g} x the target's {words}" for b in BUDGETS)]
        rows = []
        references = [at_budget(plain, b * one, currency) for b in BUDGETS]
        shown = [f"{accuracy(r).value:.3f}" if r else "" for r in references]
        rows.append(["**target and draft alone, votes, and a lot between them**", *shown])
        for name in FAMILIES:
            own = family(configs, name)
            if not own or name.startswith("draft only"):
                continue
            cells = [name]
            for budget, reference in zip(BUDGETS, references, strict=True):
                best = at_budget(own, budget * one, currency)
                if best is None or reference is None:
                    cells.append("too dear")
                    continue
                difference = minus(best, reference)
                cells.append(f"{accuracy(best).value:.3f}: {interval(difference, '+')}")
            rows.append(cells)
        lines += [table(heads, rows, left=len(heads)), ""]
    return "\n".join(lines)


def rows_table(configs: Sequence[Config]) -> str:
    """Every configuration."""
    heads = (
        *("row", "accuracy [95 %]", "takeover", "target tokens computed", "FLOPs of both, M"),
        "on the frontier of",
    )
    ends = {currency: frontier(configs, currency) for currency in CURRENCIES}
    rows = []
    for one in sorted(configs, key=lambda c: cost(c, "flops")):
        where = [words for c, words in CURRENCIES.items() if one in ends[c]]
        rows.append(
            [
                title(one),
                interval(accuracy(one)),
                "" if one.rate is None else f"{one.rate:.2f}",
                f"{cost(one, 'target'):.0f}",
                f"{cost(one, 'flops') / 1e6:.0f}",
                ", ".join(where),
            ]
        )
    return table(heads, rows, left=2)


def simulated_parts(found: Simulated) -> dict[str, str]:
    """Parts of the page by name."""
    return {
        "trace": f"From {found.trace}.",
        "published": published_table(found),
        "samples": samples_table(found),
        "from": "\n".join(f"- {line}" for line in from_samples(found)),
        "ahead": ahead_table(found),
    }


SWEPT = ("atts .2", "atts .4", "atts .4, scores not cached")
"""Rows with every number of samples."""


def settings(found: Simulated, needed: Sequence[str] = (TARGET, *SWEPT)) -> list[tuple[str, str]]:
    """Pairs and GPU types of which all rows that are needed were simulated."""
    return [
        (pair.title, gpu)
        for pair in SHOWN
        for gpu in GPUS
        if all(
            set(needed) <= {one.kind for one in found.of(pair.title, gpu, n)}
            for n in (SAMPLES if needed[0] == TARGET else (1, 16))
        )
    ]


SHOWN_KINDS = (
    *("target-only", "atts .1", "atts .2", "atts .4"),
    *("atts .4, scores not cached", "atts .4, in its place", "random takeover .4"),
    "synchronous .4",
)


def published_table(found: Simulated) -> str:
    """16 samples a question on every pair and GPU type."""
    heads = (
        *("pair, GPUs", "row", "GPUs", "makespan, s", "range", "p50, s", "GPU s a sample"),
        *("by the target's", "$ a 1,000"),
    )
    rows = []
    for pair, gpu in settings(found):
        base = found.row(pair, gpu, TARGET)
        for one in found.of(pair, gpu):
            if one.kind not in SHOWN_KINDS:
                continue
            rows.append(
                [
                    f"{pair}, {gpu}",
                    one.kind,
                    str(one.gpus),
                    f"{one.makespan:.0f}",
                    f"{one.low:.0f} to {one.high:.0f}" if one.low < one.high else "",
                    f"{one.p50:.0f}",
                    f"{one.gpu_seconds:.2f}",
                    f"{one.gpu_seconds / base.gpu_seconds:.2f}",
                    f"{one.gpu_seconds / 3.6 * PRICES[gpu]:.2f}",
                ]
            )
    return table(heads, rows, left=2)


def relative(found: Simulated, pair: str, gpu: str, kind: str, samples: int) -> float:
    """GPU seconds by the target's, at the same samples a question."""
    one, base = (found.row(pair, gpu, k, samples) for k in (kind, TARGET))
    return one.gpu_seconds / base.gpu_seconds


def samples_table(found: Simulated) -> str:
    """By samples a question: GPU seconds and latency by the target's."""
    heads = ["pair, GPUs", "row"]
    heads += [f"GPU s, {n} a question" for n in SAMPLES]
    heads += [f"p50, {n} a question" for n in SAMPLES]
    rows = []
    for pair, gpu in settings(found):
        for kind in SWEPT:
            costs = [relative(found, pair, gpu, kind, n) for n in SAMPLES]
            waits = [
                found.row(pair, gpu, kind, n).p50 / found.row(pair, gpu, TARGET, n).p50
                for n in SAMPLES
            ]
            cells = [f"{one:.2f}" if one < 1 else f"**{one:.2f}**" for one in (*costs, *waits)]
            rows.append([f"{pair}, {gpu}", kind, *cells])
    return table(heads, rows, left=2)


def from_samples(found: Simulated) -> Iterator[str]:
    """In words: from how many samples on ATTS takes fewer GPU seconds than the target alone."""
    for pair, gpu in settings(found):
        told = []
        for kind in SWEPT:
            cheap = [relative(found, pair, gpu, kind, n) < 1 for n in SAMPLES]
            if all(cheap):
                words = "from 1 sample on"
            elif not any(cheap):
                words = "at no number of samples that was tried"
            elif cheap == sorted(cheap):
                words = f"from {SAMPLES[cheap.index(True)]} samples on"
            else:
                words = "at " + ", ".join(
                    str(n) for n, one in zip(SAMPLES, cheap, strict=True) if one
                )
                words += " samples only"
            told.append(f"`{kind}` {words}{_sure(found, pair, gpu, kind)}")
        yield f"**{pair}, {gpu}**: cheaper than the target alone " + "; ".join(told) + "."


def _sure(found: Simulated, pair: str, gpu: str, kind: str) -> str:
    """The range of the ratio at 16 samples over the overheads of the cost model."""
    one, base = (found.row(pair, gpu, k) for k in (kind, TARGET))
    ends = sorted(_ends(one, base))
    return f" ({ends[0]:.2f} to {ends[1]:.2f} at 16)"


def _ends(one: Row, base: Row) -> tuple[float, float]:
    """With half and with twice the overheads of both: they are lowest and highest together."""
    factor = one.gpus / base.gpus
    return factor * one.low / base.low, factor * one.high / base.high


def ahead_table(found: Simulated) -> str:
    """What drafting ahead gains in simulated time, at the very same decisions."""
    heads = (
        *("pair, GPUs", "scores", "seconds of a sample, 1 a question", "16 a question"),
        *("makespan, 16 a question", "drafts thrown away"),
    )
    rows = []
    both = [name_of(ahead, cached) for ahead in (False, True) for cached in (False, True)]
    for pair, gpu in settings(found, both):
        for cached in (True, False):
            plain, ahead = name_of(False, cached), name_of(True, cached)
            one, base = (found.row(pair, gpu, k, 1) for k in (ahead, plain))
            many, rest = (found.row(pair, gpu, k) for k in (ahead, plain))
            rows.append(
                [
                    f"{pair}, {gpu}",
                    "cached" if cached else "not cached",
                    f"{one.mean / base.mean - 1:+.1%}",
                    f"{many.mean / rest.mean - 1:+.1%}",
                    f"{many.makespan / rest.makespan - 1:+.1%}",
                    "" if many.discarded is None else f"{many.discarded:.0%}",
                ]
            )
    return table(heads, rows, left=2)
