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


class _SavedReply(msgspec.Struct, kw_only=True):
    """A line of the file: a request's digest, the model, and its reply."""

    request: str
    model: str
    reply: str
    cut: bool
    usage: dict[str, int] = {}
    check: str = ""

    def checksum(self) -> str:
        """Checksum of all that an answer is read from: a damaged line is never used."""
        data = msgspec.json.encode([self.request, self.model, self.reply, self.cut])
        return hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass
class JudgeCalls:
    """Calls to one model.

    Attributes:
        ask: makes a call.
        file: where replies are kept, or None.
        model: name of the model; replies of other models in the file are not used.
        call_count: calls made by this object.
        tokens: prompt and completion tokens of those.
        failed: requests without a usable reply, by type of error; they never count as answers.
        example: message of the first such error.
    """

    ask: Ask
    file: Path | None = None
    model: str = ""
    call_count: int = 0
    tokens: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    example: str = ""
    _replies: dict[str, ChatReply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.is_file():
            self._load(self.file)

    def read(self, request: str, reader: Callable[[ChatReply], T]) -> T:
        """The value that a reader gets from the reply to a request.

        Args:
            request: text of the request.
            reader: turns the reply into a value; raises a `BackendError` if it cannot.

        Raises:
            BackendError: the call failed for good, or its reply is unusable; it is counted.
        """
        try:
            return reader(self._reply(request))
        except BackendError as error:
            self.failed[type(error).__name__] += 1
            self.example = self.example or str(error)
            raise

    def words(self) -> str:
        """The sums in a line."""
        line = f"{self.call_count} calls made, {self.tokens} tokens, {self.failed.total()} failed"
        if not self.failed:
            return line
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(self.failed.items()))
        return f"{line} ({reasons}; such as: {self.example})"

    def _reply(self, request: str) -> ChatReply:
        key = hashlib.blake2b(request.encode(errors="replace"), digest_size=16).hexdigest()
        if key in self._replies:
            return self._replies[key]
        self.call_count += 1
        reply = self.ask(request)
        self.tokens += reply.prompt_tokens + reply.completion_tokens
        self._replies[key] = reply
        if self.file is not None:
            usage = {"prompt": reply.prompt_tokens, "completion": reply.completion_tokens}
            text, cut = reply.text, reply.cut
            entry = _SavedReply(request=key, model=self.model, reply=text, cut=cut, usage=usage)
            entry.check = entry.checksum()
            with self.file.open("ab") as out:
                # The newline in front ends a line that was cut when its writer died.
                out.write(b"\n" + msgspec.json.encode(entry) + b"\n")
        return reply

    def _load(self, file: Path) -> None:
        unread = 0
        for line in file.read_bytes().split(b"\n"):
            if not line.strip():
                continue
            try:
                entry = msgspec.json.decode(line, type=_SavedReply)
            except (ValueError, RecursionError):
                unread += 1
                continue
            if entry.check != entry.checksum():
                unread += 1
            elif entry.model == self.model:
                self._replies[entry.request] = ChatReply(entry.reply, entry.cut)
        if unread:
            logger.warning(
                "%s: %d lines are damaged or of an earlier release; their calls are made again",
                file,
                unread,
            )
