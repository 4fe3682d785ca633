"""Calls to a model outside a run, each made once: replies are kept in a file as they come."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from atts_harness import neutral
from atts_harness.errors import BackendError
from atts_harness.judging.llm import ChatReply

logger = neutral.logger("atts_harness.judging")

T = TypeVar("T")

Ask = Callable[[str], ChatReply]
"""Sends a request to a model."""


class _Kept(msgspec.Struct, kw_only=True):
    """A line of the file: a request's digest, the model, and its reply."""

    request: str
    model: str
    reply: str
    cut: bool
    usage: dict[str, int] = {}
    check: str = ""

    def checksum(self) -> str:
        """Of what an answer is read from: a changed sign would be another answer."""
        data = msgspec.json.encode([self.request, self.model, self.reply, self.cut])
        return hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass
class JudgeCalls:
    """Calls to one model.

    Attributes:
        ask: makes a call.
        file: where replies are kept, or None.
        model: whose replies; those of another model in the file are not used.
        made: calls made now.
        tokens: prompt and completion tokens of those.
        failed: requests without a usable reply, by why; these are errors, never answers.
        example: what one of them said.
    """

    ask: Ask
    file: Path | None = None
    model: str = ""
    made: int = 0
    tokens: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    example: str = ""
    _known: dict[str, ChatReply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.is_file():
            self._load(self.file)

    def read(self, request: str, reader: Callable[[ChatReply], T]) -> T:
        """What a reader makes of the reply to a request.

        Args:
            request: what to ask.
            reader: from the reply to its meaning; raises a `BackendError` where it has none.

        Raises:
            BackendError: the call failed for good, or its reply says nothing; it is counted.
        """
        try:
            return reader(self._reply(request))
        except BackendError as error:
            self.failed[type(error).__name__] += 1
            self.example = self.example or str(error)
            raise

    def words(self) -> str:
        """The sums in a line."""
        line = f"{self.made} calls made, {self.tokens} tokens, {self.failed.total()} failed"
        if not self.failed:
            return line
        why = ", ".join(f"{name} {count}" for name, count in sorted(self.failed.items()))
        return f"{line} ({why}; such as: {self.example})"

    def _reply(self, request: str) -> ChatReply:
        key = hashlib.blake2b(request.encode(errors="replace"), digest_size=16).hexdigest()
        if key in self._known:
            return self._known[key]
        self.made += 1
        reply = self.ask(request)
        self.tokens += reply.prompt_tokens + reply.completion_tokens
        self._known[key] = reply
        if self.file is not None:
            usage = {"prompt": reply.prompt_tokens, "completion": reply.completion_tokens}
            text, cut = reply.text, reply.cut
            kept = _Kept(request=key, model=self.model, reply=text, cut=cut, usage=usage)
            kept.check = kept.checksum()
            with self.file.open("ab") as out:
                # Before it, for a line that was cut when its writer died.
                out.write(b"\n" + msgspec.json.encode(kept) + b"\n")
        return reply

    def _load(self, file: Path) -> None:
        unread = 0
        for line in file.read_bytes().split(b"\n"):
            if not line.strip():
                continue
            try:
                kept = msgspec.json.decode(line, type=_Kept)
            except (ValueError, RecursionError):
                unread += 1
                continue
            if kept.check != kept.checksum():
                unread += 1
            elif kept.model == self.model:
                self._known[kept.request] = ChatReply(kept.reply, kept.cut)
        if unread:
            logger.warning(
                "%s: %d lines are damaged or of an earlier release; their calls are made again",
                file,
                unread,
            )
