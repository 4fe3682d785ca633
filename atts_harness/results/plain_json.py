"""JSON as other programs write it: NaN and broken text do not end a report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import read_file

MOST_BYTES = 1 << 30
"""Size limit of a results file: lm-eval puts the configuration of every task into it."""


def decode(raw: bytes, label: str) -> Any:
    """A JSON value.

    NaN and infinities, which Python's own writer produces and JSON does not have, become None.

    Args:
        raw: the text.
        label: what to call it in an error.

    Raises:
        SettingError: it is not JSON.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError as error:
        raise SettingError(f"{label} is not JSON: nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as first:
        try:
            text = raw.decode("utf-8", "replace")
            return _whole(json.loads(text, parse_constant=lambda _: None))
        except RecursionError as error:
            raise SettingError(f"{label} is not JSON: nested too deeply") from error
        except ValueError:
            raise SettingError(f"{label} is not JSON: {first}") from first


def _whole(value: Any) -> Any:
    """A value without half surrogate pairs, which no file and no terminal can take."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def read(path: Path, description: str) -> Any:
    """A file's JSON value.

    Args:
        path: the file.
        description: what it should be, for errors (`a results file of lm-eval`).

    Raises:
        SettingError: it cannot be read, or is not JSON.
    """
    try:
        return decode(read_file(path, "it", MOST_BYTES), "it")
    except SettingError as error:
        raise SettingError(f"{path}: not {description}: {error}") from error


def number(value: Any) -> float | None:
    """A figure as a float; None if it is not a finite number."""
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float):
        return None
    try:
        figure = float(value)
    except OverflowError:
        return None
    return figure if math.isfinite(figure) else None
