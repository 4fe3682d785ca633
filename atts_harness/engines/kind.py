"""How an engine's plugin describes itself to the commands that start, examine and warm servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from atts_harness.backend import BackendSpec
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.servers import Launch

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
        package: Python package that brings it; None for a foreign server.
        recognise: its version if it is what answers there, else None.
        launch: how to start a server for a specification; None if it cannot be started.
        examine: engine-specific findings about a running server: chat continuation, flags.
        warm_up: further environment or advice before timing; findings about the installation.
        versions: packages whose versions matter to it.
    """

    name: str
    package: str | None
    recognise: Callable[[EngineHttp], Awaitable[str | None]]
    launch: Callable[[BackendSpec], Launch] | None = None
    examine: Callable[[EngineHttp, str], Awaitable[Sequence[Finding]]] | None = None
    pins: Callable[[], Mapping[str, str]] | None = None
