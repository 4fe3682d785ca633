"""Decoding replies by schema; a reply that cannot be decoded is an error that may be retried.

A reply's content is checked against its request elsewhere (`atts_harness.guards`). Only the fields
that a schema names are built; the decoder skips the rest. That is most of a reply: that of a score
names every token of the context.
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
    content: bytes | msgspec.Raw, kind: type[T] | msgspec.json.Decoder[T], label: str = "reply"
) -> T:
    """`content` as `kind`.

    Raises:
        MalformedReplyError: not JSON (NaN and Infinity are not), cut off, or of another shape.
    """
    json_decoder: msgspec.json.Decoder[Any]
    json_decoder = kind if isinstance(kind, msgspec.json.Decoder) else msgspec.json.Decoder(kind)
    try:
        value: T = json_decoder.decode(content)
    except UNDECODABLE as error:
        repaired = _with_zero_probabilities(bytes(content))
        if repaired is not None:
            value = decode(repaired, json_decoder, label)
            return value
        raise MalformedReplyError(f"{label}: {_cause(error)}") from error
    return value


def _with_zero_probabilities(content: bytes) -> bytes | None:
    """Valid JSON for a reply with minus infinity as a bare word; None if that was not the fault."""
    if b"-Infinity" not in content:
        return None

    def constant(word: str) -> float:
        if word != "-Infinity":
            raise ValueError(f"{word} is not a number")
        return ZERO_PROBABILITY

    try:
        return msgspec.json.encode(json.loads(content, parse_constant=constant))
    except UNDECODABLE:
        return None


def _cause(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def log_probabilities(values: Iterable[float | None], label: str) -> tuple[float, ...]:
    """Log-probabilities; an engine's stand-in for a probability of zero becomes minus infinity.

    Raises:
        MalformedReplyError: one is missing.
    """
    entries = tuple(values)
    if None in entries:
        raise MalformedReplyError(f"{label}: log-probability {entries.index(None)} is missing")
    numbers: tuple[float, ...] = entries  # type: ignore[assignment]
    if numbers and min(numbers) <= IMPOSSIBLE:
        return tuple([-math.inf if value <= IMPOSSIBLE else value for value in numbers])
    return numbers


def same_ids(returned: Sequence[int], sent: Sequence[int], label: str) -> None:
    """Make sure that a score is about the ids that were sent.

    Raises:
        MalformedReplyError: number or ids differ.
    """
    if len(returned) != len(sent):
        raise MalformedReplyError(f"{label}: {len(returned)} scored tokens instead of {len(sent)}")
    for index, (got, want) in enumerate(zip(returned, sent, strict=True)):
        if got != want:
            raise MalformedReplyError(f"{label}: token {index} is {got} instead of {want}")
