"""The measured tables and verdicts of docs/does-it-pay.md."""

from __future__ import annotations

from collections.abc import Sequence

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
from benchmarks.pays.measured import PLAN, Config, MeasuredRows

BUDGETS = (0.5, 1.0, 2.0)


def interval(found: Estimate, sign: str = "") -> str:
    """A figure with its interval."""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.2f}"
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


def target_of(found: Sequence[Config], votes: int = 1) -> Config:
    """The target alone, with votes over its samples."""
    return next(one for one in found if one.name == TARGET and one.votes == votes)


def measured_parts(found: MeasuredRows) -> dict[str, str]:
    """Parts of the page by name."""
    configs = found.configs
    return {
        "size": size(found),
        "verdicts": verdict_table(configs),
        "budgets": budget_table(configs),
        "rows": rows_table(configs),
    }


def size(found: MeasuredRows) -> str:
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
                cells.append(verdict_words(own, target_of(configs, votes), currency))
        rows.append(cells)
    return table(heads, rows, left=len(heads))


def verdict_words(own: Sequence[Config], target: Config, currency: str) -> str:
    """A method against some samples of the target, with the ratio of costs and its interval."""
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
