"""A finding: one result of the examination of a server or an installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found out about a server or an installation.

    Attributes:
        level: `ok`, `note` (nothing to do), `warning` (results or speed suffer), `error`.
        subject: the thing that was examined, in a word or two.
        text: the result.
        remedy: what to do; empty if there is nothing to do.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""
