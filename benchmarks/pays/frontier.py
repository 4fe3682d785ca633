"""Configurations of methods against the target: equal accuracy, equal budget, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atts_harness.analysis.statistics import (
    Equivalence,
    Estimate,
    cluster_bootstrap,
    clustered_mean,
    equivalence,
    paired_difference,
    problem_differences,
)
from benchmarks.pays.measured import Config

TARGET, DRAFT = "target-only", "draft-only"
MARGIN = 0.05
CURRENCIES = {"target": "target tokens", "flops": "FLOPs"}
FAMILIES = {
    "draft only, and votes over it": (DRAFT, "adaptive-consistency-draft", "deepconf-draft"),
    "ATTS, in the draft's place": ("atts-replace", "adaptive-consistency-atts"),
    "ATTS, behind the draft": ("atts-continue",),
    "synchronous, in its place": ("synchronous",),
    "random takeover, in its place": ("random-replace",),
    "random takeover, behind": ("random-continue",),
    "always takeover": ("always-takeover",),
    "SpecReason": ("specreason",),
    "speculative thinking": ("speculative-thinking",),
    "GlimpRouter": ("glimprouter",),
}
"""Rows of the plan by method, by how their names begin. Votes over their samples belong to it."""


def title(one: Config) -> str:
    """As tables show it."""
    return one.name if one.votes == 1 else f"{one.name}, {one.votes} votes"


def accuracy(one: Config | Sequence[float]) -> Estimate:
    """Mean over problems."""
    right = one.right if isinstance(one, Config) else one
    return clustered_mean(list(right), range(len(right)), bounds=(0.0, 1.0))


def cost(one: Config, currency: str) -> float:
    """What an answer costs in the mean."""
    own: list[float] = getattr(one, currency)
    return sum(own) / len(own)


def minus(one: Config | Sequence[float], other: Config | Sequence[float]) -> Estimate:
    """Difference of accuracies, paired by problem."""
    first, second = (x.right if isinstance(x, Config) else list(x) for x in (one, other))
    return paired_difference(first, range(len(first)), second, range(len(second)))


def no_worse(one: Config, other: Config) -> Equivalence:
    """Whether it is no worse by more than the margin."""
    docs = range(len(one.right))
    differences, _ = problem_differences(one.right, docs, other.right, docs)
    return equivalence(differences, 1 / one.repeats, margin=MARGIN)


def ratio(one: Config, other: Config, currency: str) -> Estimate:
    """Its cost by another's, with an interval over problems."""
    mine: list[float] = getattr(one, currency)
    theirs: list[float] = getattr(other, currency)

    def of(items: list[int]) -> float:
        return sum(mine[i] for i in items) / sum(theirs[i] for i in items)

    return cluster_bootstrap(of, range(len(mine)), draws=500)


def family(found: Sequence[Config], name: str) -> list[Config]:
    """The configurations of a method."""
    starts = FAMILIES[name]
    return [
        one for one in found if any(one.name == s or one.name.startswith(f"{s}-") for s in starts)
    ]


@dataclass(frozen=True)
class Verdict:
    """What a method comes to against some samples of the target.

    Attributes:
        words: the verdict.
        config: the configuration that decides.
        ratio: its cost by the target's; None where none is as good.
    """

    words: str
    config: Config | None = None
    ratio: Estimate | None = None


def verdict(own: Sequence[Config], target: Config, currency: str) -> Verdict:
    """Whether a method is cheaper than some samples of the target at equal accuracy.

    Equal is: no worse by more than the margin, at 95 % over problems.
    """
    told = {id(one): no_worse(one, target).outcome for one in own}
    good = [one for one in own if told[id(one)] == "no worse"]
    if good:
        best = min(good, key=lambda one: cost(one, currency))
        by = ratio(best, target, currency)
        low, high = by.low or by.value, by.high or by.value
        words = (
            "cheaper" if high < 1 else "dearer" if low > 1 else "as dear, as far as this n tells"
        )
        return Verdict(words, best, by)
    cheaper = [one for one in own if cost(one, currency) < cost(target, currency)]
    open_ = [one for one in cheaper if told[id(one)] == "inconclusive"]
    if open_:
        best = max(open_, key=lambda one: accuracy(one).value)
        return Verdict("not known with so few problems", best, ratio(best, target, currency))
    return Verdict("never, here")


def at_budget(own: Sequence[Config], budget: float, currency: str) -> list[float] | None:
    """The best accuracy of a method at a budget, by problem.

    Between two configurations a lot decides which answers, so that the cost is the budget in the
    mean. None where even its cheapest configuration costs more.
    """
    below = [one for one in own if cost(one, currency) <= budget]
    above = [one for one in own if cost(one, currency) > budget]
    if not below:
        return None
    best = max(below, key=lambda one: accuracy(one).value)
    found, value = list(best.right), accuracy(best).value
    for low in below:
        for high in above:
            first = cost(low, currency)
            part = (budget - first) / (cost(high, currency) - first)
            mixed = [(1 - part) * a + part * b for a, b in zip(low.right, high.right, strict=True)]
            if sum(mixed) / len(mixed) > value:
                found, value = mixed, sum(mixed) / len(mixed)
    return found


def frontier(own: Sequence[Config], currency: str) -> list[Config]:
    """Configurations that none cheaper is as accurate as, from cheap to dear."""
    found: list[Config] = []
    for one in sorted(own, key=lambda c: (cost(c, currency), -accuracy(c).value)):
        if not found or accuracy(one).value > accuracy(found[-1]).value:
            found.append(one)
    return found
