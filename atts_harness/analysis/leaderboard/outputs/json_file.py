"""`leaderboard.json`, written and read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from atts_harness.analysis.leaderboard.rows import FORMAT, VERSION, Leaderboard
from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file


def write_json(leaderboard: Leaderboard, path: Path) -> None:
    """Write `leaderboard.json`."""
    text = msgspec.json.format(msgspec.json.encode(leaderboard, order="deterministic"), indent=1)
    path.write_bytes(text + b"\n")


def read_json(path: Path) -> Leaderboard:
    """Read a `leaderboard.json`.

    Raises:
        SettingError: it is not one, or of a version that is not known here.
    """
    refusal = f"{path}: not a leaderboard.json"
    raw = read_file(path, refusal)
    head: _Head = decode(raw, _Head, refusal)
    if head.format != FORMAT or head.version != VERSION:
        raise SettingError(
            f"{path}: is {head.format or 'unknown'} version {head.version}, this reads {FORMAT} "
            f"version {VERSION}; run `atts report` again on the runs"
        )
    leaderboard: Leaderboard = decode(raw, Leaderboard, refusal)
    return leaderboard


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0
