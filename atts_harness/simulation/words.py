"""The vocabulary of simulated models: words of one token each, and the marks that samples end by.

Simulated texts say nothing; what counts is how many tokens they have and how they end. Draft and
target share the vocabulary, so text is never encoded twice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from atts_harness.tokenizer import Ids
from atts_harness.transcript import Message

__all__ = ["WordTokenizer"]

MARKS = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "</think>")
PIECES = ("\n\n", "\\boxed{", "}", *"0123456789")
WORDS = 512
STREAM = 1 << 18
"""Words drawn once, of which every text is a piece: drawing each word of each text takes longer
than all else of a simulation. Two texts begin alike once in so many."""


class WordTokenizer:
    """Words `w0` to `w511`, digits, a blank line and a box; one token each."""

    def __init__(self) -> None:
        self._texts = [*MARKS, *PIECES, *(f" w{number:03d}" for number in range(WORDS))]
        self._id_of = {text: id_ for id_, text in enumerate(self._texts)}
        self.named: Mapping[str, int] = {name: self._id_of[name] for name in MARKS}
        self.eos_ids = frozenset({self.named["<|end|>"]})
        self.text_prefix: Ids = ()
        self.vocab_size = len(self._texts)
        self.fingerprint = "simulated-words"
        self.template_fingerprint = "simulated-turns"
        self._first_word = len(MARKS) + len(PIECES)
        words = range(self._first_word, self.vocab_size)
        self._stream: Ids = tuple(random.Random(0).choices(words, k=STREAM))
        plain = sorted(self._texts[len(MARKS) :], key=len, reverse=True)
        self._token = re.compile("|".join([*map(re.escape, plain), "."]), re.DOTALL)

    def filler(self, count: int, rng: random.Random) -> Ids:
        """`count` words at random."""
        begin = int(rng.random() * STREAM)
        found = self._stream[begin : begin + count]
        while len(found) < count:
            found += self._stream[: count - len(found)]
        return found

    def answer(self) -> Ids:
        """A boxed answer and the end of the turn: four tokens."""
        return (*(self._id_of[piece] for piece in ("\\boxed{", "0", "}")), self.named["<|end|>"])

    def encode(self, text: str) -> Ids:
        """Ids of plain text; a character that is no token is some word."""
        found = self._token.findall(text)
        return tuple(
            [
                self._id_of.get(piece, self._first_word + sum(map(ord, piece)) % WORDS)
                for piece in found
            ]
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a run of ids."""
        return "".join(map(self._texts.__getitem__, ids))

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
