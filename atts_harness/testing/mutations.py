"""Seeded mutations of files, as damage, other programs and attackers make them.

For tests of readers. A mutated file may be refused, read as it was, or read as it is now. It must
never raise another library's error, and never give a different number silently where a checksum
could tell.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

RAW = {
    "raw-nan": "NaN",
    "raw-infinity": "-Infinity",
    "raw-large": "1e999",
    "raw-digits": "9" * 400,
    "raw-half": '"\\ud800"',
    "raw-deep": "[" * 2000 + "]" * 2000,
}
"""Values that no JSON writer makes, by the text that stands for them until they are written."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2**31, 2**53 + 1, 2**63, 2**70, -(2**63)),
    *(0.5, -0.5, 1e308, 5e-324, "", "x", "0", "nan", "inf", "../../x", "/etc/passwd"),
    *("\x1b[31m", "\0", "=1+1", "[bold]x", "x" * 10_000, [], {}, [[]], {"a": 1}, [None]),
    *RAW,
)

Dice = random.Random


def mutate(content: bytes, seed: int) -> bytes:
    """A file's content with one to three mutations; the same for the same seed.

    Args:
        content: of a sound file, of any format.
        seed: selects the mutations.
    """
    dice = Dice(seed)
    for _ in range(dice.choice((1, 1, 2, 3))):
        structured = _of_json(content, dice) if dice.random() < 0.5 else None
        content = structured if structured is not None else dice.choice(_BYTES)(content, dice)
    return content


def mutate_database(path: Path, seed: int) -> None:
    """A SQLite file with one value replaced by another; the same for the same seed.

    Args:
        path: the file; changed in place.
        seed: selects the value.
    """
    dice = Dice(seed)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        tables = [t for t in sorted(tables) if not t.startswith("sqlite_")]
        table = dice.choice(tables)
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        if not columns:
            return
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        if not rows:
            return
        row = dice.choice(rows)
        which = " AND ".join(f'"{column}" IS ?' for column in columns)
        number = dice.randrange(len(columns))
        changed = f'UPDATE "{table}" SET "{columns[number]}" = ? WHERE {which}'
        connection.execute(changed, (_other(row[number], dice), *row))
    except sqlite3.Error:
        return  # the schema forbids it
    finally:
        connection.close()


def _other(value: Any, dice: Dice) -> Any:
    if isinstance(value, bytes) and value and dice.random() < 0.7:
        return dice.choice(_BYTES)(value, dice)
    if isinstance(value, str) and value and dice.random() < 0.7:
        return mutate(value.encode(), dice.randrange(1 << 30)).decode(errors="replace")
    return dice.choice((None, -1, 0, 1, 2**40, 0.5, float("inf"), "", "x", b"", b"\xff\xfe"))


def _of_json(content: bytes, dice: Dice) -> bytes | None:
    """A value inside replaced, removed or doubled; None if it is neither JSON nor JSON lines."""
    try:
        return _dumped(_replaced(json.loads(content), dice))
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    which = dice.randrange(len(lines))
    try:
        lines[which] = _dumped(_replaced(json.loads(lines[which]), dice))
    except (ValueError, RecursionError):
        return None
    return b"\n".join(lines)


def _dumped(value: Any) -> bytes:
    text = json.dumps(value)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text.encode()


def _replaced(root: Any, dice: Dice) -> Any:
    places: list[tuple[Any, Any]] = []
    waiting = [root] if isinstance(root, dict | list) else []
    while waiting:
        node = waiting.pop()
        inner = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(inner):
            places.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    if not places:
        return dice.choice(VALUES)
    node, key = dice.choice(places)
    draw = dice.random()
    if draw < 0.2:
        del node[key]
    elif draw < 0.3 and isinstance(node, list):
        node.insert(key, node[key])
    elif draw < 0.35 and isinstance(node, dict):
        node[str(dice.choice(VALUES))] = node.pop(key)
    else:
        node[key] = dice.choice(VALUES)
    return root


def _flip(content: bytes, dice: Dice) -> bytes:
    if not content:
        return b"\0"
    at = dice.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :]


def _cut(content: bytes, dice: Dice) -> bytes:
    return content[: dice.randrange(len(content) + 1)]


def _part(content: bytes, dice: Dice) -> tuple[int, int]:
    begin = dice.randrange(len(content) + 1)
    return begin, min(len(content), begin + dice.choice((1, 2, 8, 64, 1024)))


def _remove(content: bytes, dice: Dice) -> bytes:
    begin, end = _part(content, dice)
    return content[:begin] + content[end:]


def _double(content: bytes, dice: Dice) -> bytes:
    begin, end = _part(content, dice)
    return content[:end] + content[begin:end] + content[end:]


def _noise(content: bytes, dice: Dice) -> bytes:
    begin, end = _part(content, dice)
    return content[:begin] + dice.randbytes(end - begin) + content[end:]


def _insert(content: bytes, dice: Dice) -> bytes:
    at = dice.randrange(len(content) + 1)
    insertion = dice.choice(
        (b"\0", b"\xff\xfe", b"{", b"[" * 3000, b'"', b"\x1b[2J", b"NaN", b"-", b"9")
    )
    return content[:at] + insertion + content[at:]


def _line(content: bytes, dice: Dice) -> bytes:
    lines = content.split(b"\n")
    at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    match dice.randrange(3):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case _:
            lines[at], lines[other] = lines[other], lines[at]
    return b"\n".join(lines)


def _nothing_left(content: bytes, dice: Dice) -> bytes:
    return dice.choice((b"", b"\n", b"\0" * len(content), b"null", b"[]", b"{}"))


_BYTES: tuple[Callable[[bytes, Dice], bytes], ...] = (
    *(_flip, _flip, _flip, _cut, _remove, _double, _noise, _insert, _line, _line),
    _nothing_left,
)
