"""How an engine's plugin describes itself to the commands that start, examine and warm servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from atts_harness.engines.http import EngineHttp

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found out about a server or an installation.

    Attributes:
        level: `ok`, `note` (nothing to do), `warning` (results or speed suffer), `error`.
        subject: what was examined, in a word or two.
        text: what was found.
        remedy: what to do; empty where nothing is.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class EngineKind:
    """An engine as the commands see it.

    Attributes:
        name: the backend's.
        recognise: whether it is what answers there; raises `BackendError` if nothing does.
        package: Python package that brings it; None for a foreign server.
        python_variable: environment variable that names the Python which has it.
        specific: recognised before others that speak the same dialect.
        clear_cache: what to POST to so that its prefix cache is empty; None: nothing is known.
        clear_cache_needs: environment variables a server must be started with for that.
    """

    name: str
    recognise: Callable[[EngineHttp], Awaitable[bool]]
    package: str | None = None
    python_variable: str | None = None
    specific: bool = True
    clear_cache: str | None = None
    clear_cache_needs: Mapping[str, str] = field(default_factory=dict)
