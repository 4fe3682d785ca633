"""What a row amounts to: its samples, their answers and votes, and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import quantiles

from atts_harness.analysis.statistics import (
    Estimate,
    clustered_mean,
    maj_at_k,
    paired_difference,
    vote_share,
)
from atts_harness.grading.extraction import boxed
from atts_harness.ledger.statistics import TakeoverCount
from atts_harness.records import ABSENT, CallTotals, SampleRecord
from atts_harness.results.statistics import TakeoverStatistics


class Measured:
    """A row's samples and figures. Where samples vote, all of a problem are one answer.

    Args:
        records: every sample.
        golds: the answer of each problem; they are whole numbers, equal if their texts are.
    """

    def __init__(self, records: list[SampleRecord], golds: Sequence[str]) -> None:
        self.records = records
        self.drawn = [r for r in records if r.finish != "not-drawn"]
        self.votes = any(record.weight is not None for record in records)
        present = [record for record in records if record.finish not in ABSENT]
        self.questions = [record.id.doc for record in present]
        self.right = [float(boxed(r.text) == golds[r.id.doc]) for r in present]
        self.calls: dict[str, CallTotals] = {}
        for record in records:
            for name, totals in record.calls.items():
                self.calls.setdefault(name, CallTotals()).merge(totals)
        weights: dict[int, Counter[str]] = {doc: Counter() for doc in range(len(golds))}
        self._cast: dict[int, Counter[str]] = {doc: Counter() for doc in range(len(golds))}
        self._golds = golds
        for record in present:
            answer = boxed(record.text)
            self._cast[record.id.doc][answer or ""] += 1
            if answer is not None:
                weights[record.id.doc][answer] += record.weight or 0.0  # type: ignore[assignment]
        self.voted = {
            doc: vote_share(votes[golds[doc]], [w for a, w in votes.items() if a != golds[doc]])
            for doc, votes in weights.items()
        }

    @property
    def answers(self) -> int:
        """What costs are divided by."""
        return len(self.voted) if self.votes else len(self.records)

    @property
    def shares(self) -> tuple[list[float], list[int]]:
        """What is right, and the question of each: by vote, or by sample."""
        if self.votes:
            return list(self.voted.values()), list(self.voted)
        return self.right, self.questions

    @property
    def accuracy(self) -> Estimate:
        """Of the vote, or pass@1; clustered by question."""
        return clustered_mean(*self.shares, bounds=(0.0, 1.0))

    @property
    def pass_1(self) -> float:
        """Of the samples that were drawn and not given up: mean over questions."""
        return clustered_mean(self.right, self.questions, bounds=(0.0, 1.0)).value

    def minus(self, other: Measured | Mapping[int, float]) -> Estimate:
        """Difference of accuracies, paired by question."""
        second = other.shares if isinstance(other, Measured) else (other.values(), other)
        return paired_difference(*self.shares, list(second[0]), list(second[1]))

    def majority(self, k: int) -> dict[int, float]:
        """By question the chance that the majority of k of its samples is right."""
        chances = {}
        for doc, cast in self._cast.items():
            wrong = [n for answer, n in cast.items() if answer not in ("", self._golds[doc])]
            chances[doc] = maj_at_k(cast[self._golds[doc]], wrong, cast[""], k)
        return chances

    def tokens(self, role: str, count: str) -> float:
        """Tokens of a role an answer: `computed_tokens` or `completion_tokens`."""
        of_role = [totals for name, totals in self.calls.items() if name.startswith(f"{role}/")]
        return float(sum(getattr(totals, count) for totals in of_role)) / self.answers

    @property
    def written(self) -> float:
        """Tokens that both models wrote an answer."""
        return sum(self.tokens(role, "completion_tokens") for role in ("draft", "target"))

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
        """Percentile of the seconds from an answer's admission to its end."""
        spans: dict[tuple[int, int], tuple[float, float]] = {}
        for r in self.records:
            key = (r.id.doc, 0 if self.votes else r.id.repeat)
            first, last = spans.get(key, (r.started, r.ended))
            spans[key] = (min(first, r.started), max(last, r.ended))
        return quantiles((end - start for start, end in spans.values()), n=100)[percentile - 1]

    def share(self, name: str) -> float:
        """Share of the drawn samples with a truthy field."""
        return sum(bool(getattr(record, name)) for record in self.drawn) / len(self.drawn)


def consistency_at(
    samples: Measured, tokens: float, below: Measured | None = None
) -> tuple[dict[int, float], float] | None:
    """Self-consistency at so many tokens a problem, by question; and how many they really are.

    Between k and k + 1 samples it is a mix of the two by lot, which takes so many tokens on average
    and is right as often as their mean. Below one sample `below` answers where the lot says so.
    Where more samples would be needed than there are, it is all of them, which take fewer tokens.

    Args:
        samples: those that vote, and what they cost: with `below` the target's computed tokens,
            else what both models wrote.
        tokens: what it may cost.
        below: costs nothing here, such as the draft alone.

    Returns:
        None where not even one sample can be had.
    """
    computed = samples.written if below is None else samples.tokens("target", "computed_tokens")
    one = computed * len(samples.voted) / len(samples.drawn)
    most = len(samples.records) // len(samples.voted)
    k = min(tokens / one, most)
    if k < 1 and below is None:
        return None
    least = int(k)
    first = _means(below) if least == 0 and below is not None else samples.majority(max(1, least))
    second = samples.majority(min(most, least + 1))
    part = k - least
    return {doc: (1 - part) * first[doc] + part * second[doc] for doc in first}, k * one


def _means(of: Measured) -> dict[int, float]:
    """pass@1 by question."""
    by_question: dict[int, list[float]] = {}
    for doc, right in zip(of.questions, of.right, strict=True):
        by_question.setdefault(doc, []).append(right)
    return {doc: sum(values) / len(values) for doc, values in sorted(by_question.items())}
