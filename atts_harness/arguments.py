"""Settings as text: `a=b,c=d`, or a JSON object, whose values may hold commas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from atts_harness.errors import SettingError


def parse_arguments(text: str, where: str) -> dict[str, Any]:
    """The settings in a text; values of `a=b` stay text.

    Args:
        text: `name=value,name=value`, or a JSON object.
        where: the option that gave it, for errors.

    Raises:
        SettingError: a part without `=`, or JSON that is no object.
    """
    if text.lstrip().startswith("{"):
        return parse_object(text, where)
    return parse_pairs([text], where)


def parse_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: the JSON.
        where: the option that gave it, for errors.

    Raises:
        SettingError: it is not one.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SettingError(f"{where}: not a JSON object: {error}") from error


def parse_pairs(texts: Iterable[str], where: str, shape: str = "NAME=VALUE") -> dict[str, str]:
    """The pairs of one or more texts of the form `name=value,name=value`.

    Args:
        texts: empty parts are left out.
        where: the option that gave them, for errors.
        shape: what a part looks like, for errors.

    Raises:
        SettingError: a part without a name or `=`.
    """
    found: dict[str, str] = {}
    for part in (piece.strip() for text in texts for piece in text.split(",")):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if part and not (sign and name):
            raise SettingError(f"{where}: {part!r} is not {shape}")
        if part:
            found[name] = value
    return found


def format_arguments(settings: Mapping[str, Any]) -> str:
    """Settings as a JSON object, which keeps types, lists and commas as they are."""
    return msgspec.json.encode(settings).decode()
