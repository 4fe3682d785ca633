"""Ids of a context, kept with the spans they are made of, so that work on a span is done once.

A transcript grows by segments whose ids never change, and every call sends all of them again:
they are checked against the vocabulary, hashed and written as JSON. On a context of thousands of
ids that is most of what a request costs the client. So a context remembers its spans, and each span
what was derived from it. To everybody else both are plain tuples of ids.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Sequence

import msgspec

_pack = msgspec.msgpack.Encoder().encode


class Span(tuple[int, ...]):
    """Ids that stay together: a rendered prompt, a segment."""

    @functools.cached_property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest id of a span that is not empty."""
        return min(self), max(self)

    @functools.cached_property
    def json(self) -> bytes:
        """The ids as JSON writes them in an array, without its brackets."""
        return msgspec.json.encode(self)[1:-1]

    @functools.cached_property
    def packed(self) -> bytes:
        """The ids as MessagePack writes them in an array, without its header."""
        return _pack(self)[len(_header(len(self))) :]


class Joined(tuple[int, ...]):
    """A context; made by `join`.

    Attributes:
        spans: what it is made of, in order; none of them is empty.
    """

    spans: tuple[Span, ...]


def join(spans: Iterable[Sequence[int]]) -> Joined:
    """One context of several spans.

    Args:
        spans: those that are a `Span` keep what is derived from them.
    """
    derived = tuple([span if isinstance(span, Span) else Span(span) for span in spans if span])
    ids: list[int] = []
    for span in derived:
        ids.extend(span)
    joined = Joined(ids)
    joined.spans = derived
    return joined


def spans_of(ids: Sequence[int]) -> tuple[Span, ...]:
    """The spans that `ids` were joined from; one span if they were not joined."""
    return ids.spans if isinstance(ids, Joined) else (Span(ids),)


def bounds(ids: Sequence[int]) -> tuple[int, int]:
    """The least and the greatest of at least one id."""
    least, greatest = zip(*[span.bounds for span in spans_of(ids)], strict=True)
    return min(least), max(greatest)


def as_json(ids: Sequence[int]) -> msgspec.Raw:
    """`ids` as a JSON array, for a payload."""
    return msgspec.Raw(b"[" + b",".join([span.json for span in spans_of(ids) if span]) + b"]")


def as_msgpack(ids: Sequence[int]) -> bytes:
    """`ids` as a MessagePack array; it does not depend on how they are divided into spans."""
    return _header(len(ids)) + b"".join([span.packed for span in spans_of(ids)])


def _header(count: int) -> bytes:
    """What MessagePack puts before `count` elements of an array."""
    if count < 16:
        return bytes([0x90 | count])
    return struct.pack(">BH", 0xDC, count) if count < 65536 else struct.pack(">BI", 0xDD, count)
