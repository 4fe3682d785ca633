"""From inspect_ai's messages and generation settings to the harness's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atts_harness.errors import SettingError
from atts_harness.message import Message
from atts_harness.neutral import logger
from atts_harness.running.problems import Terms, terms_of

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig

log = logger("inspect_ai.atts")

# Our names of settings by inspect_ai's.
TRANSLATED = {
    "max_tokens": "max_gen_toks",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_seqs": "until",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "num_choices": "n",
}
# They would change what comes back, so a run without them is another run.
REFUSED = {
    "best_of": "draws several samples and keeps one; use --epochs",
    "logit_bias": "is not supported",
    "logprobs": "a strategy's text has no one model's log-probabilities",
    "top_logprobs": "a strategy's text has no one model's log-probabilities",
    "prompt_logprobs": "a strategy's text has no one model's log-probabilities",
    "response_schema": "is not supported",
    "modalities": "text only",
    "extra_body": "give settings by -M",
}
# inspect_ai's own business, or settings of the run and not of the text.
IGNORED = frozenset(
    {
        *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections"),
        *("adaptive_connections", "system_message", "seed", "cache", "batch", "cache_prompt"),
        *("max_tool_output", "fail_on_refusal", "reasoning_history"),
    }
)


def messages_of(chat: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Chat messages of text alone.

    Raises:
        SettingError: a message of a tool, or one that holds more than text.
    """
    return tuple(_message(number, message) for number, message in enumerate(chat))


def terms(config: GenerateConfig, task: Mapping[str, Any]) -> Terms:
    """Check generation settings; those given to inspect_ai win over those of the sample's task.

    Raises:
        SettingError: a setting that cannot be used.
    """
    values = config.model_dump(exclude_none=True)
    if config.batch:
        raise SettingError("batch: a live session has no batch mode; leave it out")
    for name, reason in REFUSED.items():
        if values.get(name) and not (name == "best_of" and values[name] == 1):
            raise SettingError(f"{name}: {reason}; leave it out")
    for name in values.keys() - TRANSLATED.keys() - REFUSED.keys() - IGNORED:
        _say_once(name)
    translated = {ours: values[theirs] for theirs, ours in TRANSLATED.items() if theirs in values}
    return terms_of({**task, **translated}, "generation settings")


def _message(number: int, message: ChatMessage) -> Message:
    if message.role == "tool" or getattr(message, "tool_calls", None):
        raise SettingError(f"message {number}: tools are not supported; use a solver without tools")
    if isinstance(message.content, str):
        return Message(message.role, message.content)
    parts = []
    for part in message.content:
        if part.type == "reasoning":
            # What a model thought in an earlier turn; templates decide what becomes of it.
            parts.append(f"<think>{part.reasoning}</think>")
        elif part.type == "text":
            parts.append(part.text)
        else:
            raise SettingError(
                f"message {number}: holds a part of type {part.type!r}; only text can be asked"
            )
    return Message(message.role, "".join(parts))


_said: set[str] = set()


def _say_once(name: str) -> None:
    if name not in _said:
        _said.add(name)
        log.warning("generation setting %s is not used by this provider", name)
