"""Decoding replies by schema; what cannot be decoded is an error that may be retried.

What a reply says is checked against its request elsewhere (`atts_harness.guards`). Only the fields
that a schema names are built; the rest of a reply is skipped over by the decoder. That is most of
it: a score's reply names every token of the context.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from atts_harness.errors import MalformedReplyError

T = TypeVar("T")
UNDECODABLE = (msgspec.DecodeError, ValueError, RecursionError, OverflowError)
ZERO_PROBABILITY = -3.4028234663852886e38
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
    except UNDECODABLE as error:
        again = _with_zero_probabilities(bytes(content))
        if again is not None:
            value = decode(again, how, what)
            return value
        raise MalformedReplyError(f"{what}: {_cause(error)}") from error
    return value


def _with_zero_probabilities(content: bytes) -> bytes | None:
    """JSON of a server that writes minus infinity as a bare word; None if that is not its fault."""
    if b"-Infinity" not in content:
        return None

    def constant(word: str) -> float:
        if word != "-Infinity":
            raise ValueError(f"{word} is no number")
        return ZERO_PROBABILITY

    try:
        return msgspec.json.encode(json.loads(content, parse_constant=constant))
    except UNDECODABLE:
        return None


def _cause(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def log_probabilities(values: Iterable[float | None], what: str) -> tuple[float, ...]:
    """Log-probabilities as numbers: an engine's stand-in for a probability of zero becomes one.

    Raises:
        MalformedReplyError: one is missing.
    """
    told = tuple(values)
    if None in told:
        raise MalformedReplyError(f"{what}: log-probability {told.index(None)} is missing")
    numbers: tuple[float, ...] = told  # type: ignore[assignment]
    if numbers and min(numbers) <= IMPOSSIBLE:
        return tuple([-math.inf if value <= IMPOSSIBLE else value for value in numbers])
    return numbers


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
