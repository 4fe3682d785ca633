"""Settings as text: `a=b,c=d`, or a JSON object, whose values may hold commas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from atts_harness.errors import SettingError


def parse_arguments(text: str, option: str) -> dict[str, Any]:
    """The settings in a text; values of `a=b` stay text.

    Args:
        text: `name=value,name=value`, or a JSON object.
        option: the option that gave it, for errors.

    Raises:
        SettingError: a part without `=`, or JSON that is not an object.
    """
    if text.lstrip().startswith("{"):
        return parse_object(text, option)
    return parse_pairs([text], option)


def parse_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: the JSON.
        option: the option that gave it, for errors.

    Raises:
        SettingError: it is not one.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SettingError(f"{option}: not a JSON object: {error}") from error


def parse_pairs(texts: Iterable[str], option: str, shape: str = "NAME=VALUE") -> dict[str, str]:
    """The pairs of one or more texts of the form `name=value,name=value`.

    Args:
        texts: empty parts are left out.
        option: the option that gave them, for errors.
        shape: what a part looks like, for errors.

    Raises:
        SettingError: a part without a name or `=`.
    """
    pairs: dict[str, str] = {}
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if part and not (sign and name):
            raise SettingError(f"{option}: {part!r} is not {shape}")
        if part:
            pairs[name] = value
    return pairs


def format_arguments(settings: Mapping[str, Any]) -> str:
    """Settings written as a JSON object, which keeps types, lists and commas."""
    return msgspec.json.encode(settings).decode()
