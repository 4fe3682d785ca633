"""Checks what a chat template does to messages, before a model is used.

A template is a program that comes with a model. Some drop the question, some refuse a system
message, some put the date into the prompt. The token that a template puts after an assistant's
message ends a generation, whether or not the tokenizer lists it as an end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atts_harness import neutral
from atts_harness.errors import SettingError
from atts_harness.message import Message

Render = Callable[[Sequence[Message], bool], str]
"""Renders messages as text; the second argument: whether the assistant's turn is opened."""

MARK = "ATTS-4711"
# What templates were seen to trip over: quotes, markup, a line break, the end of a long text.
WORDS = "Is 3 < 4 & 'a' = \"b\"?\nThink about {it} " + "and again " * 40 + "until \\boxed{4711}."
REMEDY = "give a template that works with chat_template=FILE, or another model"

logger = neutral.logger("atts_harness.templates")


def check_template(render: Render) -> None:
    """Make sure that a template keeps what a user says, once, and opens the assistant's turn.

    Raises:
        SettingError: it does not; one line that says what is wrong.
    """
    messages = [Message("user", WORDS)]
    opened = render(messages, True)
    if (times := opened.count(WORDS)) != 1:
        fault = f"repeats the user's words {times} times" if times else "drops or changes the words"
        raise SettingError(
            f"chat_template: the template {fault} of a user's message, so no question would be "
            f"asked as it is meant; {REMEDY}"
        )
    closed = render(messages, False)
    answered = render([*messages, Message("assistant", MARK)], False)
    before = answered.partition(MARK)[0]
    header = before.removeprefix(closed) if before.startswith(closed) else ""
    if opened == closed and header.strip() and MARK in answered:
        raise SettingError(
            f"chat_template: the template puts {header!r} before an assistant's words, but not "
            f"where the assistant is to write (it ignores add_generation_prompt); {REMEDY}"
        )
    earlier = [Message("user", f"first {MARK}"), Message("assistant", f"then {MARK}"), *messages]
    try:
        rendered = render(earlier, True)
    except SettingError as error:
        logger.warning("several turns cannot be rendered: %s", error)
        return
    lost = [m.role for m in earlier if rendered.count(m.content) != 1]
    if lost:
        logger.warning(
            "chat_template: the template drops earlier words of the %s: few-shot examples as turns "
            "would be lost",
            " and the ".join(lost),
        )


def turn_end(render: Render) -> str:
    """Text that a template puts after an assistant's message; empty if it cannot be determined.

    A template without an end of its own begins the next turn there.
    """
    answered = [Message("user", "."), Message("assistant", MARK)]
    for messages in (answered, [*answered, Message("user", ".")]):
        try:
            ending = render(messages, False).partition(MARK)[2]
        except SettingError:
            continue
        if ending.strip():
            return ending
    return ""


def explain(error: Exception, roles: Sequence[str]) -> SettingError:
    """A template's own error as one line.

    Args:
        error: raised by rendering.
        roles: of the messages that were rendered.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    remedy = REMEDY
    if "system" in roles:
        remedy = "leave the system message out (--system_instruction, description), or " + REMEDY
    return SettingError(
        f"chat_template: the template refuses messages of {', '.join(roles)}: {reason}; {remedy}"
    )
