"""A sample's state: messages and an exact list of segments, each with its author.

A transcript is the exact concatenation of what was generated; nothing is put between segments.
A segment is its text and the ids of the model that wrote it. Another model's ids come from
encoding the segment once, piece by piece: named tokens map by name, plain text is encoded as
plain text. Ids of earlier segments never change, so an engine's prefix cache hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from atts_harness.ids import Joined, Span, join
from atts_harness.message import Message
from atts_harness.tokenizer import LONGEST_TAIL, REPLACEMENT, Ids, Tokenizer

__all__ = [
    "Author",
    "Ending",
    "Message",
    "Piece",
    "Prompt",
    "Segment",
    "Transcript",
    "inserted",
    "written",
]

Author = Literal["draft", "target", "strategy"]
Ending = Literal["stop", "length", "eos"]

_NAMES: dict[str, dict[int, str]] = {}  # by fingerprint of the vocabulary


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of plain text, or one named token (`</think>`)."""

    text: str
    named: bool = False


@dataclass(frozen=True)
class Segment:
    """The text that one author added at once.

    Attributes:
        author: who wrote it; `strategy` for text that a strategy inserts.
        pieces: its text, split at named tokens.
        ids: its ids in the author's vocabulary; None for inserted text.
        vocabulary: fingerprint of the author's tokenizer; None for inserted text.
        ending: why it ends; `eos` means the author closed its turn (the end-of-turn token is
            not part of the segment).
        turn: the strategy's turn or step it belongs to.
        kind: the kind of call it came from (`draft`, `takeover`, ...).
    """

    author: Author
    pieces: tuple[Piece, ...]
    ids: Ids | None = None
    vocabulary: str | None = None
    ending: Ending = "length"
    turn: int = 0
    kind: str = ""
    _foreign: dict[str, Ids] = field(default_factory=dict, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The segment as text, named tokens by name."""
        return "".join(piece.text for piece in self.pieces)

    def __bool__(self) -> bool:
        """False when nothing was written."""
        return bool(self.pieces)

    def __len__(self) -> int:
        """Tokens that count against a budget: the author's; none for inserted text."""
        return 0 if self.ids is None else len(self.ids)

    def ids_in(self, tokenizer: Tokenizer) -> Ids:
        """The segment's ids in `tokenizer`'s vocabulary; computed once, then fixed."""
        if self.ids is not None and self.vocabulary == tokenizer.fingerprint:
            return self.ids
        foreign = self._foreign.get(tokenizer.fingerprint)
        if foreign is None:
            parts: list[int] = []
            for piece in self.pieces:
                id_ = tokenizer.named.get(piece.text) if piece.named else None
                parts.extend(tokenizer.encode(piece.text) if id_ is None else (id_,))
            foreign = self._foreign[tokenizer.fingerprint] = Span(parts)
        return foreign


@dataclass(frozen=True)
class Prompt:
    """The chat messages of a problem; rendered once a vocabulary and template."""

    messages: tuple[Message, ...]
    _rendered: dict[tuple[str, str, bool], Ids] = field(
        default_factory=dict, repr=False, compare=False
    )

    def ids_in(self, tokenizer: Tokenizer, *, raw: bool = False) -> Ids:
        """Rendered ids.

        Args:
            tokenizer: has the vocabulary and the template.
            raw: no template: the contents, each followed by a newline, as the published `ct0`
                scoring has it. For comparison only.
        """
        key = (tokenizer.fingerprint, tokenizer.template_fingerprint, raw)
        rendered = self._rendered.get(key)
        if rendered is None:
            if raw:
                ids = tokenizer.encode("".join(m.content + "\n" for m in self.messages))
            else:
                ids = tokenizer.render(self.messages)
            rendered = self._rendered[key] = Span(ids)
        return rendered


@dataclass(frozen=True)
class Transcript:
    """A prompt and the segments written after it. Immutable: `+` gives a longer one."""

    prompt: Prompt
    segments: tuple[Segment, ...] = ()

    def __add__(self, segment: Segment) -> Transcript:
        """The transcript with `segment` after it; an empty segment leaves no trace."""
        return replace(self, segments=(*self.segments, segment)) if segment else self

    @property
    def text(self) -> str:
        """Generated text only; the prompt is not part of it."""
        return "".join(segment.text for segment in self.segments)

    @property
    def tokens(self) -> int:
        """Kept tokens: what the budget `max_gen_toks` counts."""
        return sum(len(segment) for segment in self.segments)

    @property
    def closed(self) -> bool:
        """True if the last author ended the turn."""
        return bool(self.segments) and self.segments[-1].ending == "eos"

    def ids_in(self, tokenizer: Tokenizer, *, raw: bool = False) -> Joined:
        """Everything in one model's ids: the rendered prompt, then every segment."""
        prompt = self.prompt.ids_in(tokenizer, raw=raw)
        return join([prompt, *[segment.ids_in(tokenizer) for segment in self.segments]])


def written(
    tokenizer: Tokenizer,
    ids: Sequence[int],
    *,
    author: Author,
    ending: Ending,
    stop: str | None = None,
    keep_stop: bool = True,
    turn: int = 0,
    kind: str = "",
) -> Segment:
    """The segment of generated ids.

    The end-of-turn token is dropped. A trailing incomplete UTF-8 character is held back: the
    next author writes it whole. If `stop` ended the generation, the text is cut right after it
    (`keep_stop`) or right before it; where the cut falls inside a token, the whole tokens before
    it are kept and the rest is encoded anew.

    Args:
        tokenizer: the author's.
        ids: as generated, with the token that completed the stop string.
        author: who wrote them.
        ending: why the generation ended.
        stop: the stop string that ended it.
        keep_stop: whether the stop string belongs to the segment.
        turn: the strategy's turn.
        kind: the kind of call.
    """
    kept_ids = list(ids)
    if ending == "eos" and kept_ids and kept_ids[-1] in tokenizer.eos_ids:
        kept_ids.pop()
    if ending == "stop" and stop:
        kept_ids = _cut_at(tokenizer, kept_ids, stop, keep_stop=keep_stop)
    else:
        kept_ids = _whole_characters(tokenizer, kept_ids)
    return Segment(
        author=author,
        pieces=_pieces(tokenizer, kept_ids),
        ids=Span(kept_ids),
        vocabulary=tokenizer.fingerprint,
        ending=ending,
        turn=turn,
        kind=kind,
    )


def inserted(text: str, *, turn: int = 0, kind: str = "insert") -> Segment:
    """A segment of the strategy's own words; it costs no generated tokens."""
    pieces = (Piece(text),) if text else ()
    return Segment(author="strategy", pieces=pieces, turn=turn, kind=kind)


def _cut_at(tokenizer: Tokenizer, ids: list[int], stop: str, *, keep_stop: bool) -> list[int]:
    text = tokenizer.decode(ids)
    start = text.find(stop)
    if start < 0:
        return _whole_characters(tokenizer, ids)
    cut = start + len(stop) if keep_stop else start
    if len(text) == cut:
        return ids
    # The stop was completed by the last token, so only few tokens lie behind the cut.
    whole = len(ids)
    while whole and (
        len(before := tokenizer.decode(ids[:whole])) > cut or before != text[: len(before)]
    ):
        whole -= 1
    remainder = text[len(tokenizer.decode(ids[:whole])) : cut]
    return [*ids[:whole], *tokenizer.encode(remainder)]


def _whole_characters(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """Ids without a trailing incomplete character.

    A token may end a character and begin the next: what it ends is encoded anew. A U+FFFD that
    survives dropping the longest possible tail was meant, or was broken long before: it stays.
    """
    # The tokens of the last character show how the text ends.
    if not tokenizer.decode(ids[-LONGEST_TAIL - 1 :]).endswith(REPLACEMENT):
        return ids
    text = tokenizer.decode(ids)
    for dropped in range(1, min(LONGEST_TAIL, len(ids)) + 1):
        kept_ids = ids[:-dropped]
        head = tokenizer.decode(kept_ids)
        if not head.endswith(REPLACEMENT):
            ended = text[len(head) :].rstrip(REPLACEMENT) if text.startswith(head) else ""
            return [*kept_ids, *tokenizer.encode(ended)]
    return ids


def _pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[Piece, ...]:
    names = _names(tokenizer)
    if names.keys().isdisjoint(ids):
        return (Piece(tokenizer.decode(ids)),) if ids else ()
    pieces: list[Piece] = []
    run: list[int] = []

    def flush() -> None:
        if run:
            pieces.append(Piece(tokenizer.decode(run)))
            run.clear()

    for id_ in ids:
        if id_ in names:
            flush()
            pieces.append(Piece(names[id_], named=True))
        else:
            run.append(id_)
    flush()
    return tuple(pieces)


def _names(tokenizer: Tokenizer) -> dict[int, str]:
    """Named tokens by id; computed once for each vocabulary."""
    names = _NAMES.get(tokenizer.fingerprint)
    if names is None:
        names = _NAMES[tokenizer.fingerprint] = {i: name for name, i in tokenizer.named.items()}
    return names
