"""A text's thoughts and its answer."""

from __future__ import annotations

from typing import NamedTuple

from atts_harness.backend import Role
from atts_harness.grading.extraction import THINK_END
from atts_harness.running.opening import RunModels
from atts_harness.transcript import Prompt

THINK_BEGIN = "<think>"
MARKS = (THINK_BEGIN, THINK_END)
LAST_IDS = 16


class Parts(NamedTuple):
    """What a text consists of.

    Attributes:
        thoughts: the text before the end of thinking; None if there is no thinking.
        answer: the rest.
    """

    thoughts: str | None
    answer: str


def opens_thinking(models: RunModels, prompt: Prompt) -> bool:
    """Whether the prompt, rendered for the role that writes first, ends inside of thoughts."""
    role: Role = "draft" if "draft" in models.backends else "target"
    tokenizer = models.backends[role].tokenizer
    ids = tuple(prompt.ids_in(tokenizer))[-LAST_IDS:]
    return tokenizer.decode(ids).rstrip().endswith(THINK_BEGIN)


Opened = bool | None
"""Whether the prompt opens the thoughts; None: thoughts are not told apart."""


def parts_of(text: str, *, opened: Opened) -> Parts:
    """Split a text, or the beginning of one.

    The parts of a beginning stay the same when the text grows, except for a mark that is cut in two
    at its end (see `settled`).

    Args:
        text: generated.
        opened: whether the prompt opened the thoughts.
    """
    rest = text
    if opened is None:
        return Parts(None, text)
    if not opened:
        begun = text.lstrip()
        if not begun.startswith(THINK_BEGIN):
            return Parts(None, text)
        rest = begun.removeprefix(THINK_BEGIN)
    thoughts, _, answer = rest.partition(THINK_END)
    return Parts(thoughts, answer)


def settled(text: str, stops: tuple[str, ...], *, opened: Opened) -> str:
    """The part of a text that later text cannot change, so that it can be sent.

    Args:
        text: the beginning.
        stops: texts that end the sample; they, and all text after them, are never sent.
        opened: whether the prompt opened the thoughts.
    """
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    if cuts:
        return text[: min(cuts)]
    if opened is False and THINK_BEGIN.startswith(text.lstrip()):
        return ""  # it may yet begin with thoughts
    marks = stops if opened is None else (*stops, *MARKS)
    pending = max((_overlap(text, mark) for mark in marks), default=0)
    return text[: len(text) - pending]


def _overlap(text: str, mark: str) -> int:
    """How much of the end of a text may be the beginning of a mark."""
    for length in range(min(len(text), len(mark) - 1), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
