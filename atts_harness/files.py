"""Reads files that others wrote: bounded in size, plain files only, and every fault in one line.

A file may be cut, damaged, of another program, or made to do harm. Whoever reads one asks here, so
that it becomes a value of the type wanted or a `SettingError` that names the file.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from atts_harness.errors import SettingError

T = TypeVar("T")

MOST_BYTES = 1 << 28
"""Of a file that is read as a whole: 256 MiB."""
MOST_LINE_BYTES = 1 << 26
"""Of a line: 64 MiB. A log's line holds all repeats of a document."""
MOST_UNPACKED_BYTES = 1 << 33
"""Of what a packed file holds: 8 GiB. It is read line by line."""


def read_file(path: Path, what: str | None = None, most: int = MOST_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: which.
        what: how messages begin; default: its path.
        most: bytes it may have.

    Raises:
        SettingError: missing, no plain file, too large, not readable.
    """
    named = what or str(path)
    try:
        with _open(path, named) as file:
            if os.fstat(file.fileno()).st_size > most:
                raise SettingError(f"{named}: larger than {most >> 20} MiB, so it is none of ours")
            return file.read()
    except OSError as error:
        raise SettingError(f"{named}: cannot be read: {_why(error)}") from error


def decode(content: bytes, kind: type[T] | Any, what: str) -> T:
    """JSON as a value of a type.

    Args:
        content: the JSON.
        kind: the type, for msgspec.
        what: how messages begin, such as a file and what it should be.

    Raises:
        SettingError: not JSON, or not of that type.
    """
    try:
        found: T = msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SettingError(f"{what}: {error or 'nested too deeply'}") from error
    return found


def read_lines(path: Path, what: str | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of a text file, plain or packed by gzip, with their numbers from 1; not blank ones.

    Args:
        path: which.
        what: how messages begin; default: its path.

    Raises:
        SettingError: missing, no plain file, not readable, cut (a packed one), or too large.
    """
    named = what or str(path)
    number = total = 0
    try:
        with _open(path, named) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            lines: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
            while line := lines.readline(MOST_LINE_BYTES + 1):
                number += 1
                total += len(line)
                if len(line) > MOST_LINE_BYTES:
                    raise SettingError(
                        f"{named}: line {number} is longer than {MOST_LINE_BYTES >> 20} MiB"
                    )
                if packed and total > MOST_UNPACKED_BYTES:
                    raise SettingError(
                        f"{named}: unpacks to more than {MOST_UNPACKED_BYTES >> 30} GiB"
                    )
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise SettingError(
            f"{named}: cannot be read behind line {number}: {_why(error)}"
        ) from error


def _open(path: Path, named: str) -> IO[bytes]:
    """Open a plain file; a pipe would wait for a writer, and a device has no end."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null byte in its name
        raise SettingError(f"{named}: not a name of a file") from error
    except FileNotFoundError as error:
        raise SettingError(f"{named}: no such file") from error
    if not stat.S_ISREG(mode):
        raise SettingError(f"{named}: not a file" + (" (a folder)" if stat.S_ISDIR(mode) else ""))
    return path.open("rb")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
