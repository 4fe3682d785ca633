"""Reads files from outside: bounded in size, plain files only, and every error in one line.

A file may be cut, damaged, of another program, or made to do harm. All such files are read here, so
that each becomes a value of the expected type or a `SettingError` that names the file.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from atts_harness.errors import SettingError

T = TypeVar("T")

MOST_BYTES = 1 << 28
"""Largest file that is read as a whole: 256 MiB."""
MOST_LINE_BYTES = 1 << 26
"""Longest line: 64 MiB. A log's line holds all repeats of a document."""
MOST_YAML_BYTES = 1 << 20
MOST_NODES = 100_000
MOST_DEPTH = 50
MOST_UNPACKED_BYTES = 1 << 33
"""Largest unpacked content of a packed file: 8 GiB. It is read line by line."""


def read_file(path: Path, label: str | None = None, most: int = MOST_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        label: how messages begin; default: its path.
        most: bytes that it may have.

    Raises:
        SettingError: missing, no plain file, too large, not readable.
    """
    named = label or str(path)
    try:
        with _open(path, named) as file:
            if os.fstat(file.fileno()).st_size > most:
                raise SettingError(
                    f"{named}: larger than {most >> 20} MiB, so it is not a file of this project"
                )
            return file.read()
    except OSError as error:
        raise SettingError(f"{named}: cannot be read: {_why(error)}") from error


def decode(content: bytes, kind: type[T] | Any, label: str) -> T:
    """JSON as a value of a type.

    Args:
        content: the JSON.
        kind: the type, for msgspec.
        label: how messages begin, such as a file and what it should be.

    Raises:
        SettingError: not JSON, or not of that type.
    """
    try:
        value: T = msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SettingError(f"{label}: {error or 'nested too deeply'}") from error
    return value


def read_lines(path: Path, label: str | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of a text file, plain or packed by gzip, with their numbers from 1; not blank ones.

    Args:
        path: the file.
        label: how messages begin; default: its path.

    Raises:
        SettingError: missing, no plain file, not readable, cut (a packed one), or too large.
    """
    named = label or str(path)
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
        raise SettingError(f"{named}: cannot be read after line {number}: {_why(error)}") from error


def load_yaml(
    path: Path, label: str | None = None, look: Callable[[Any], None] | None = None
) -> Any:
    """The content of a YAML file, without objects of Python's.

    Args:
        path: the file.
        label: how messages begin; default: its path.
        look: sees the tree of the file before anything in it unfolds.

    Raises:
        SettingError: it cannot be read, is not YAML, or is too large, folded or unfolded.
    """
    import yaml  # type: ignore[import-untyped]

    named = label or str(path)
    content = read_file(path, named, MOST_YAML_BYTES)
    try:
        loader = yaml.SafeLoader(content.decode())
        tree = loader.get_single_node()
        if tree is None:
            return None
        _check_size(tree, named)
        if look is not None:
            look(tree)
        return loader.construct_document(tree)
    except UnicodeDecodeError as error:
        raise SettingError(f"{named}: is not UTF-8 text ({error.reason})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingError(f"{named}{line}: is not YAML: {problem}") from error
    except RecursionError as error:
        raise SettingError(f"{named}: is nested too deeply") from error
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        # An impossible date, a number with thousands of digits, a key that is a list.
        raise SettingError(f"{named}: holds an invalid value: {error}") from error


def _check_size(tree: Any, label: str) -> None:
    """Refuse anchors that would unfold into too many values, before anything unfolds them.

    Every node is visited once; the content of an alias counts each time that it is used.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        here = f"{label}, line {node.start_mark.line + 1}"
        if id(node) in open_nodes:
            raise SettingError(f"{here}: an anchor that holds itself")
        if depth > MOST_DEPTH:
            raise SettingError(f"{here}: is nested deeper than {MOST_DEPTH} levels")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inner: list[Any] = [] if node.id == "scalar" else node.value
            if node.id == "mapping":
                inner = [part for pair in inner for part in pair]
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in inner)
            open_nodes.remove(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise SettingError(
                f"{here}: its anchors unfold into more than {MOST_NODES} values; write it out"
            )
        return sizes[id(node)]

    size(tree, 0)


def _open(path: Path, named: str) -> IO[bytes]:
    """Open a plain file; a pipe would wait for a writer, and a device has no end."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null byte in its name
        raise SettingError(f"{named}: not a file name") from error
    except FileNotFoundError as error:
        raise SettingError(f"{named}: no such file") from error
    if not stat.S_ISREG(mode):
        raise SettingError(f"{named}: not a file" + (" (a folder)" if stat.S_ISDIR(mode) else ""))
    return path.open("rb")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
