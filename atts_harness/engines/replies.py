"""Decoding replies by schema; what cannot be trusted is an error that may be retried.

Only the fields that a schema names are built; the rest of a reply is skipped over by the decoder.
That is most of it: a score's reply names every token of the context.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from atts_harness.errors import MalformedReplyError

T = TypeVar("T")
# vLLM writes this for a probability of zero, SGLang the least float32; no real one comes near.
IMPOSSIBLE = -9999.0


@functools.cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """A reusable decoder of a type."""
    return msgspec.json.Decoder(kind)


def decode(
    content: bytes | msgspec.Raw, kind: type[T] | msgspec.json.Decoder[T], what: str = "reply"
) -> T:
    """`content` as `kind`.

    Raises:
        MalformedReplyError: not JSON (NaN and Infinity are not), cut off, or of another shape.
    """
    how: msgspec.json.Decoder[Any]
    how = kind if isinstance(kind, msgspec.json.Decoder) else msgspec.json.Decoder(kind)
    try:
        value: T = how.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReplyError(f"{what}: {error}") from error
    return value


def finite(logprobs: Iterable[float | None], what: str) -> tuple[float, ...]:
    """Log-probabilities, checked.

    Rounding may put one a hair above zero; that is zero. A probability of zero comes as minus
    infinity, as null or as an engine's stand-in, and none of these can be averaged.

    Raises:
        MalformedReplyError: one is missing, not finite or positive.
    """
    values = []
    for index, value in enumerate(logprobs):
        if value is None or not IMPOSSIBLE < value < 1e-3:  # NaN fails every comparison
            raise MalformedReplyError(f"{what}: log-probability {index} is {value}")
        values.append(min(float(value), 0.0))
    return tuple(values)


def same_ids(returned: Sequence[int], sent: Sequence[int], what: str) -> None:
    """Make sure that a score is about the ids that were sent.

    Raises:
        MalformedReplyError: number or ids differ.
    """
    if len(returned) != len(sent):
        raise MalformedReplyError(f"{what}: {len(returned)} scored tokens instead of {len(sent)}")
    for index, (got, want) in enumerate(zip(returned, sent, strict=True)):
        if got != want:
            raise MalformedReplyError(f"{what}: token {index} is {got} instead of {want}")
