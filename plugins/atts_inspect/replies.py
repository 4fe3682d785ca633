"""From a sample's record to what inspect_ai logs: text, usage, and an event for each turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
    StopReason,
)

from atts_harness.grading.extraction import THINK_END
from atts_harness.ledger.prices import Price
from atts_harness.records import CallRole, CallTotals, DecisionRecord, Finish, SampleRecord

SOURCE = "atts"
"""Of events, and key of the facts in an output's metadata."""
THINK_BEGIN = "<think>"

STOPS: Mapping[Finish, StopReason] = {
    "answer": "stop",
    "until": "stop",
    "eos": "stop",
    "strategy": "stop",
    "turns": "max_tokens",
    "budget": "max_tokens",
    "context": "model_length",
    "failed": "unknown",
}


def output_of(model: str, record: SampleRecord, prices: Mapping[CallRole, Price]) -> ModelOutput:
    """A sample's answer. One that failed for good is an empty text, so that it is graded wrong.

    Args:
        model: its name.
        record: the finished sample.
        prices: dollars by role, where they were given.
    """
    text = "" if record.failed is not None else record.text
    message = ChatMessageAssistant(content=contents(text), model=model, source="generate")
    return ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=message, stop_reason=STOPS[record.finish])],
        usage=usage_of(record, prices),
        metadata={SOURCE: facts(record)},
        error=record.failed,
    )


def contents(text: str) -> str | list[Any]:
    """A text; where a model thought before it answered, its thoughts are a part of their own.

    Nothing is stripped: the thoughts, `</think>` and the rest are the text.
    """
    thought, end, answer = text.partition(THINK_END)
    if not end:
        return text
    return [
        ContentReasoning(reasoning=thought.removeprefix(THINK_BEGIN)),
        ContentText(text=answer),
    ]


def usage_of(record: SampleRecord, prices: Mapping[CallRole, Price]) -> ModelUsage:
    """Tokens of all calls of the sample, of both models together."""
    total = CallTotals()
    dollars = 0.0
    for name, calls in record.calls.items():
        total.merge(calls)
        price = prices.get(name.partition("/")[0])  # type: ignore[call-overload]
        dollars += price.of(calls) if price else 0.0
    fresh = total.prompt_tokens - total.cached_tokens
    return ModelUsage(
        input_tokens=fresh,
        input_tokens_cache_read=total.cached_tokens,
        output_tokens=total.completion_tokens,
        total_tokens=total.prompt_tokens + total.completion_tokens,
        total_cost=dollars if prices else None,
    )


def facts(record: SampleRecord) -> dict[str, Any]:
    """What is known of a sample beside its text; the log of inspect_ai holds it for each output."""
    judged = [decision for decision in record.decisions if decision.judged]
    return {
        "sample": msgspec.to_builtins(record.id),
        "strategy": record.strategy,
        "finish": record.finish,
        "truncated": record.truncated,
        "failed": record.failed,
        "turns": record.turns,
        "takeovers": sum(decision.takeover for decision in judged),
        "judged_turns": len(judged),
        "kept_tokens": record.kept_tokens,
        "calls": {name: msgspec.to_builtins(calls) for name, calls in record.calls.items()},
        "seconds": record.ended - record.started,
        "waited_seconds": record.waited_seconds,
        "answers": record.answers,
        "notes": msgspec.to_builtins(record.notes),
        "text": record.text,
    }


def log_turns(record: SampleRecord) -> None:
    """An event for each turn, in the sample's transcript: `inspect view` shows them in order."""
    decisions = {decision.turn: decision for decision in record.decisions}
    for turn in sorted({segment.turn for segment in record.segments} | set(decisions)):
        written = [segment for segment in record.segments if segment.turn == turn]
        event: dict[str, Any] = {"turn": turn}
        if turn in decisions:
            event["decision"] = _decision(decisions[turn])
        event["segments"] = [
            {
                "author": segment.author,
                "kind": segment.kind,
                "kept": segment.kept,
                "tokens": segment.tokens,
                "ending": segment.ending,
                "text": segment.text,
            }
            for segment in written
        ]
        transcript().info(event, source=SOURCE)


def _decision(decision: DecisionRecord) -> dict[str, Any]:
    names = ("takeover", "reason", "nonconformity", "p_value", "threshold", "bank_size", "bank")
    return {name: getattr(decision, name) for name in names}
