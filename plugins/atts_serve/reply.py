"""From a finished sample to OpenAI's shapes, and the facts that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from atts_harness._version import __version__
from atts_harness.backend import Role
from atts_harness.records import DecisionRecord, SampleRecord
from atts_harness.running.opening import RunModels
from atts_harness.strategy import Problem
from atts_serve.rooms import Room
from atts_serve.thinking import Opened, Parts, opens_thinking, parts_of

# Why a sample ended, in OpenAI's words. There are five of them; a strategy calls no tools, and
# nothing filters its words.
FINISH = {
    "answer": "stop",
    "until": "stop",
    "eos": "stop",
    "strategy": "stop",
    "not-drawn": "stop",
    "stopped": "stop",
    "turns": "length",
    "budget": "length",
    "context": "length",
}


@dataclass(frozen=True)
class Heading:
    """The fields that every part of an answer has.

    Attributes:
        id: the id of the answer.
        model: the model's name, as in the request.
        created: time of the request, in seconds since 1970.
    """

    id: str
    model: str
    created: int

    def object(self, kind: str, choices: Sequence[Any], **fields: Any) -> dict[str, Any]:
        """An answer, or a part of a stream."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"atts-harness-{__version__}",
            "choices": list(choices),
            **fields,
        }


@dataclass(frozen=True)
class RecordReader:
    """Reads the records of a request's samples.

    Attributes:
        problem: the problem of the request.
        models: the models that answered.
        thinks: whether the text begins within thoughts, which the prompt opens; None: thoughts are
            not told apart.
    """

    problem: Problem
    models: RunModels
    thinks: Opened

    @classmethod
    def of(cls, problem: Problem, room: Room, *, apart: bool) -> RecordReader:
        """For a problem that is asked now, with thoughts apart from the answer or within it."""
        opened: Opened = None
        if apart:
            continued = problem.prompt.messages[-1].role == "assistant"
            opened = opens_thinking(room.models, problem.prompt) if continued else room.opens
        return cls(problem, room.models, opened)

    def parts(self, text: str) -> Parts:
        """A text's thoughts and its answer."""
        return parts_of(text, opened=self.thinks)

    def choice(self, index: int, record: SampleRecord) -> dict[str, Any]:
        """A choice of a whole answer."""
        parts = self.parts(record.text)
        message: dict[str, Any] = {"role": "assistant", "content": parts.answer, "refusal": None}
        if parts.thoughts is not None:
            message["reasoning_content"] = parts.thoughts
        return {
            "index": index,
            "message": message,
            "finish_reason": FINISH.get(record.finish, "stop"),
            "logprobs": None,
            "atts": facts(record, whole=parts.thoughts is not None),
        }

    def usage(self, records: Sequence[SampleRecord]) -> dict[str, Any]:
        """Tokens of the answer; the cost of making it is among the facts.

        The prompt counts once, in the target's tokens (in the draft's, if there is no target).
        Its cached tokens are its length times the share of all calls' contexts that engines found
        in their prefix caches.
        """
        role: Role = "target" if "target" in self.models.backends else "draft"
        tokenizer = self.models.backends[role].tokenizer
        prompt = len(self.problem.prompt.ids_in(tokenizer))
        completion = sum(sum(record.kept_tokens.values()) for record in records)
        calls = [totals for record in records for totals in record.calls.values()]
        sent = sum(totals.prompt_tokens for totals in calls)
        cached = sum(totals.cached_tokens for totals in calls)
        thoughts = [self.parts(record.text).thoughts for record in records]
        reasoning = sum(len(tokenizer.encode(text)) for text in thoughts if text)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": prompt * cached // sent if sent else 0},
            "completion_tokens_details": {"reasoning_tokens": min(completion, reasoning)},
        }


def facts(record: SampleRecord, *, whole: bool) -> dict[str, Any]:
    """How a sample came about: its name, its turns with their authors, and what it cost.

    Args:
        record: the record of the sample.
        whole: whether to add the whole text, because the message does not have all of it.
    """
    fields: dict[str, Any] = {
        "task": record.id.task,
        "doc": record.id.doc,
        "repeat": record.id.repeat,
        "strategy": record.strategy,
        "finish": record.finish,
        "truncated": record.truncated,
        "weight": record.weight,
        "seconds": round(record.ended - record.started, 6),
        "turns": turns(record),
        "tokens": tokens(record),
    }
    if whole:
        fields["text"] = record.text
    return fields


def turns(record: SampleRecord) -> list[dict[str, Any]]:
    """By turn what was written, by whom, whether it was kept, and the decision."""
    decisions = {decision.turn: decision for decision in record.decisions}
    by_number: dict[int, dict[str, Any]] = {}
    for segment in record.segments:
        turn = by_number.setdefault(segment.turn, {"turn": segment.turn, "segments": []})
        turn["segments"].append(
            {
                "author": segment.author,
                "kind": segment.kind,
                "text": segment.text,
                "tokens": segment.tokens,
                "kept": segment.kept,
            }
        )
    for number, decision in decisions.items():
        turn = by_number.setdefault(number, {"turn": number, "segments": []})
        turn |= decided(decision)
    return [by_number[number] for number in sorted(by_number)]


def decided(decision: DecisionRecord) -> dict[str, Any]:
    """A decision's facts. A score is a mean negative log-probability, in nats per token."""
    return {
        "takeover": decision.takeover,
        "reason": decision.reason,
        "score": finite(decision.nonconformity),
        "p_value": decision.p_value,
        "threshold": decision.threshold,
        "bank": decision.bank,
        "bank_size": decision.bank_size,
    }


def finite(value: float | None) -> float | str | None:
    """A number for JSON: "infinity" in place of infinity, which a token of probability 0 gives."""
    return "infinity" if value == float("inf") else value


def tokens(record: SampleRecord) -> dict[str, dict[str, int]]:
    """By role the tokens of its calls, and how many of its tokens were kept."""
    by_role: dict[str, dict[str, int]] = {}
    for name, totals in record.calls.items():
        role = by_role.setdefault(name.partition("/")[0], dict.fromkeys(TOTALS, 0))
        for total, attribute in TOTALS.items():
            role[total] += getattr(totals, attribute)
    for author, count in record.kept_tokens.items():
        if author in by_role:
            by_role[author]["kept"] = count
    return by_role


TOTALS: Mapping[str, str] = {
    "calls": "calls",
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "completion": "completion_tokens",
    "scored": "scored_tokens",
    "computed": "computed_tokens",
}

encode = msgspec.json.Encoder().encode
