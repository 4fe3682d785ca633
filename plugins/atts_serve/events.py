"""Events of a sample in progress, for clients that watch it."""

from __future__ import annotations

import math
from typing import Any

from atts_harness.backend import GenerateReply, ScoreReply
from atts_harness.records import EXTRACTOR, CallRecord, DecisionRecord
from atts_harness.running.opening import RunModels
from atts_harness.transcript import written
from atts_serve.reply import decided, finite


def event_fields(event: CallRecord | DecisionRecord, models: RunModels) -> dict[str, Any]:
    """The fields of an event for a client: of a call or of a decision.

    Args:
        event: the call or the decision.
        models: the models that the call went to.
    """
    if isinstance(event, DecisionRecord):
        return {"type": "decision", "turn": event.turn, **decided(event)}
    key = event.key
    fields: dict[str, Any] = {
        "type": "call",
        "turn": key.turn,
        "kind": key.kind,
        "author": key.role,
        "queued": round(event.sent - event.queued, 6),
        "seconds": round(event.done - event.sent, 6),
        "failed": event.reply is None,
    }
    reply = event.reply
    if isinstance(reply, GenerateReply):
        if key.role != EXTRACTOR:
            # As the sample has it: without the token that closed the turn, or half a character.
            segment = written(
                models.backends[key.role].tokenizer,
                reply.ids,
                author=key.role,
                ending=reply.ending,
                stop=reply.stop,
            )
            fields["text"] = segment.text
        fields["tokens"] = reply.usage.completion_tokens
    elif isinstance(reply, ScoreReply) and reply.logprobs:
        fields["score"] = finite(-math.fsum(reply.logprobs) / len(reply.logprobs))
        fields["tokens"] = reply.usage.scored_tokens
    return fields
