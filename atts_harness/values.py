"""Turns loosely typed values, as command lines and YAML give them, into typed ones."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from atts_harness.errors import SettingError, UnknownSettingError

__all__ = ["convert", "hints_of", "is_none", "struct_from"]

T = TypeVar("T")
_LARGEST = 1 << 63


def struct_from(kind: type[T], values: Mapping[str, Any], source: str = "model_args") -> T:
    """An instance of a msgspec struct from loosely typed values.

    Raises:
        UnknownSettingError: a key is not a field.
        SettingError: a value has the wrong type or range.
    """
    hints = hints_of(kind)
    checked = {}
    for name, value in values.items():
        if name not in hints:
            raise UnknownSettingError(name, hints, source)
        checked[name] = convert(name, value, hints[name])
    try:
        return kind(**checked)
    except (TypeError, ValueError) as error:
        if isinstance(error, msgspec.ValidationError) or not isinstance(error, TypeError):
            raise SettingError(f"{source}: {error}") from error
        raise


_HINTS: dict[type, dict[str, Any]] = {}


def hints_of(kind: type) -> dict[str, Any]:
    """The types of a struct's fields; cached, because a plan checks thousands of settings."""
    if kind not in _HINTS:
        _HINTS[kind] = {f.name: f.type for f in msgspec.structs.fields(kind)}
    return _HINTS[kind]


def convert(name: str, value: Any, kind: Any) -> Any:
    """One loosely typed value as `kind`; strings of numbers, booleans and JSON are understood.

    Raises:
        SettingError: names the setting, what it accepts and what came.
    """
    if is_none(name, value, kind):
        return None
    attempts = [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        attempts.append(str(value))  # a model folder called `7`
    if isinstance(value, str):
        if value[:1] in "{[":
            # If it is not JSON, it is a text that begins with a brace, and is converted below.
            with contextlib.suppress(msgspec.DecodeError):
                attempts.insert(0, msgspec.json.decode(value))
        if value.lower() in ("true", "false", "none", "null"):
            attempts.append(value.lower())
    problem = ""
    for attempt in attempts:
        try:
            converted = msgspec.convert(attempt, kind, strict=False)
        except msgspec.ValidationError as error:
            problem = problem or str(error)
            continue
        if isinstance(converted, int) and not -_LARGEST <= converted < _LARGEST:
            raise SettingError(f"{name}: {value} has more than 64 bits, which a run cannot record")
        return converted
    expected = f"one of {', '.join(allowed)}" if (allowed := _choices(kind)) else problem
    raise SettingError(f"{name}: expected {expected.removeprefix('Expected ')} (got {value!r})")


def is_none(name: str, value: Any, kind: Any) -> bool:
    """Whether a text stands for None, and the type allows None.

    Raises:
        SettingError: the text is empty, so it is not clear what is meant.
    """
    word = value.strip().lower() if isinstance(value, str) else None
    # The word first: a plan checks thousands of values, and examining a type takes many calls.
    if word not in ("", "none", "null") or not _may_be_none(kind):
        return False
    if not word:
        raise SettingError(f"{name}: is empty; give a value, or leave it out")
    return True


def _may_be_none(kind: Any) -> bool:
    """Whether a type has None among its values, at any depth."""
    return kind is type(None) or any(_may_be_none(part) for part in get_args(kind))


def _choices(kind: Any) -> list[str]:
    """The values of a `Literal` or an enumeration, at any depth of a type."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(value.value) for value in kind]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return [value for part in get_args(kind) for value in _choices(part)]
