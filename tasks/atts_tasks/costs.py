"""What a question's samples cost, as metrics of its task.

lm-eval's table and its loggers (W&B, Trackio) show what tasks aggregate and nothing else, so these
few stand there; everything is in the results' `config.atts`. Answers of other models carry no
record and have none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.metrics import mean

from atts_harness.records import SampleRecord

TAKEOVER = "takeover_rate"
"""Takeovers among judged turns: the realised rate."""
ALL_TURNS = "takeover_rate_all_turns"
"""Takeovers among all turns with a decision, failed scores and empty drafts included."""
UNJUDGED = "turns_not_judged"
"""Share of the turns with a decision that nobody judged."""


def costs_of(answers: str | Sequence[str]) -> dict[str, Any]:
    """The costs of one question.

    Args:
        answers: its repeats, or one answer.

    Returns:
        Means over repeats: tokens computed by either role, turns, seconds; under a vote all tokens
        and seconds of the question and the turns of a drawn sample. And for strategies that
        decide takeovers two counts for each of three rates: `takeover_rate` of judged turns,
        `takeover_rate_all_turns`, `turns_not_judged`. Empty if an answer has no record.
    """
    replies = [answers] if isinstance(answers, str) else list(answers)
    records = [getattr(answer, "record", None) for answer in replies]
    if not records or not all(isinstance(record, SampleRecord) for record in records):
        return {}
    present: list[SampleRecord] = [record for record in records if record is not None]
    # A question's samples that vote are one answer, which costs what they all cost.
    vote = any(record.weight is not None for record in present)
    drawn = [record for record in present if record.finish != "not-drawn"]
    count = 1 if vote else len(present)
    began, ended = min(r.started for r in present), max(r.ended for r in present)
    costs: dict[str, Any] = {
        "target_tokens": sum(_computed(record, "target") for record in present) / count,
        "draft_tokens": sum(_computed(record, "draft") for record in present) / count,
        "turns": sum(record.turns for record in drawn) / max(1, len(drawn)),
        "seconds": ended - began if vote else sum(r.ended - r.started for r in present) / count,
    }
    decisions = [decision for record in present for decision in record.decisions]
    judged = [decision.takeover for decision in decisions if decision.judged]
    if judged:
        costs[TAKEOVER] = [sum(judged), len(judged)]
    if decisions:
        costs[ALL_TURNS] = [sum(d.takeover for d in decisions), len(decisions)]
        costs[UNJUDGED] = [len(decisions) - len(judged), len(decisions)]
    return costs


def rate(counts: Sequence[Sequence[int]]) -> float:
    """One count over another, of all questions together."""
    return sum(part for part, _ in counts) / sum(whole for _, whole in counts)


# lm-eval's own mean: the standard error it prints for one is over questions.
COSTS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("target_tokens", "draft_tokens", "turns", "seconds"), mean),
    **dict.fromkeys((TAKEOVER, ALL_TURNS, UNJUDGED), rate),
}


def _computed(record: SampleRecord, role: str) -> int:
    of_role = (totals for name, totals in record.calls.items() if name.startswith(f"{role}/"))
    return sum(totals.computed_tokens for totals in of_role)
