"""The vocabulary of simulated models: words of one token each, and the marks that samples end by.

Simulated texts say nothing; what counts is how many tokens they have and how they end. Draft and
target share the vocabulary, so text is never encoded twice.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Mapping, Sequence

from atts_harness.tokenizer import Ids
from atts_harness.transcript import Message

__all__ = ["WordTokenizer"]

MARKS = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "</think>")
PIECES = ("\n\n", "\\boxed{", "}", *"0123456789")
WORDS = 512
TEXTS = (*MARKS, *PIECES, *(f" w{number:03d}" for number in range(WORDS)))
ID_OF = {text: id_ for id_, text in enumerate(TEXTS)}
FIRST_WORD = len(MARKS) + len(PIECES)
TOKEN = re.compile(r" w(?:[0-4]\d\d|50\d|51[01])|\\boxed\{|\n\n|.", re.DOTALL | re.ASCII)
"""A word, a longer piece, or one character."""
STREAM = 1 << 18
"""Words drawn once, of which every text is a piece: drawing each word of each text takes longer
than all else of a simulation. Two texts begin alike once in so many."""
LATELY = 64
"""Texts whose ids are remembered: all samples of a question ask with the same one."""


class WordTokenizer:
    """Words `w0` to `w511`, digits, a blank line and a box; one token each."""

    def __init__(self) -> None:
        self.named: Mapping[str, int] = {name: ID_OF[name] for name in MARKS}
        self.eos_ids = frozenset({self.named["<|end|>"]})
        self.text_prefix: Ids = ()
        self.vocab_size = len(TEXTS)
        self.fingerprint = "simulated-words"
        self.template_fingerprint = "simulated-turns"
        self._stream = _stream()

    def filler(self, count: int, rng: random.Random) -> Ids:
        """Ids of `count` words, drawn at random."""
        begin = int(rng.random() * STREAM)
        words = self._stream[begin : begin + count]
        while len(words) < count:
            words += self._stream[: count - len(words)]
        return words

    def answer(self) -> Ids:
        """Ids of a boxed answer and the end of the turn: four tokens."""
        return (*(ID_OF[piece] for piece in ("\\boxed{", "0", "}")), self.named["<|end|>"])

    def encode(self, text: str) -> Ids:
        """Ids of plain text; a character that is not a token becomes some word."""
        return _encoded(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a run of ids."""
        return "".join(map(TEXTS.__getitem__, ids))

    def render(self, messages: Sequence[Message]) -> Ids:
        """`<|role|>content<|end|>` for each message, then the assistant's header."""
        *closed, last = messages
        if last.role != "assistant":
            return (*self._turns(messages), self.named["<|assistant|>"])
        return (*self._turns(closed), self.named["<|assistant|>"], *self.encode(last.content))

    def render_tail(self, messages: Sequence[Message], prefill: str = "") -> Ids:
        """The end of the running turn, the messages, the assistant's header and the prefill."""
        end, assistant = self.named["<|end|>"], self.named["<|assistant|>"]
        return (end, *self._turns(messages), assistant, *self.encode(prefill))

    def _turns(self, messages: Sequence[Message]) -> Ids:
        ids: list[int] = []
        for message in messages:
            header = self.named[f"<|{message.role}|>"]
            ids += (header, *self.encode(message.content), self.named["<|end|>"])
        return tuple(ids)


@functools.cache
def _stream() -> Ids:
    return tuple(random.Random(0).choices(range(FIRST_WORD, len(TEXTS)), k=STREAM))


@functools.lru_cache(LATELY)
def _encoded(text: str) -> Ids:
    return tuple(
        [
            ID_OF.get(piece, FIRST_WORD + sum(map(ord, piece)) % WORDS)
            for piece in TOKEN.findall(text)
        ]
    )
