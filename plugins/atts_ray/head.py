"""The head of a cluster: whether it is there, asked in a way that never waits for long.

A call to Ray that needs the head does not return without it, and after a minute Ray ends the
process that made it. So it is looked for before each such call, by a connection that says nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

CONNECT_SECONDS = 0.5
PAUSE_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
"""How long it may be away: less than Ray's own minute, with time to wind cells down."""


class Head:
    """The head of a cluster.

    Args:
        address: of its service (GCS), as HOST:PORT.
        patience: how long it may be away, in seconds.
        now: a clock, in seconds.
    """

    def __init__(
        self, address: str, patience: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._at = (host.strip("[]"), int(port))
        self._patience = patience
        self._now = now
        self._away: float | None = None  # since when
        self._looked = 0.0

    def answers(self) -> bool:
        """Whether it is there now; one that is away is looked for now and then."""
        now = self._now()
        if self._away is not None and now - self._looked < PAUSE_SECONDS:
            return False
        self._looked = now
        try:
            socket.create_connection(self._at, CONNECT_SECONDS).close()
        except OSError:
            if self._away is None:
                self._away = now
            return False
        self._away = None
        return True

    def gone(self) -> str | None:
        """Why nothing can be asked of the cluster any more, in words; None: it can."""
        if self.answers() or self._away is None:
            return None
        away = self._now() - self._away
        if away < self._patience:
            return None
        return f"ray: the cluster's head at {self._address} is gone"
