"""Chat messages through lm-eval, unrendered.

lm-eval hands a model one string per request. With `--apply_chat_template` it asks the model to
render the messages first; here they travel inside a string instead, and each role renders them
with its own template when the run begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Self

from atts_harness.transcript import Message


class ChatPrompt(str):
    """A prompt that is still messages. As a string it is their JSON, which lm-eval logs.

    Attributes:
        messages: unrendered; a trailing assistant message is a turn to be continued.
    """

    messages: tuple[Message, ...]

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, str]]) -> Self:
        """From lm-eval's `{"role": ..., "content": ...}` messages."""
        plain = [{"role": str(m["role"]), "content": str(m["content"])} for m in messages]
        prompt = cls(json.dumps(plain, ensure_ascii=False))
        prompt.messages = tuple(Message(m["role"], m["content"]) for m in plain)
        return prompt


def messages_of(context: str) -> tuple[Message, ...]:
    """The messages of a request's context; raw text is one message of the user."""
    if isinstance(context, ChatPrompt):
        return context.messages
    return (Message("user", context),)
