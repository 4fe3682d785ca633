"""The servers of a pair, which its cells share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from atts_harness import plugins
from atts_harness.arguments import format_arguments
from atts_harness.backend import Role, starts
from atts_harness.comparing.causes import cause
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.reaching import backend_of
from atts_harness.errors import SettingError
from atts_harness.launcher import Command, Place, ServerJob
from atts_harness.settings import ROLES

POLL_SECONDS = 0.1
STOP_SECONDS = 30.0


class Servers:
    """The servers of one pair, started by `atts serve-models` when they are first needed.

    A pair that is served already (`draft_url`, `target_url`), or in the cells' own processes,
    needs none.

    Args:
        cells: of the pair.
        folder: for the servers' logs; its name is the pair's.
        place: where they are started.
        say: tells people what happens.
    """

    def __init__(
        self, cells: Sequence[Cell], folder: Path, place: Place, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._place = place
        self._say = say
        self._settings = to_serve(cells)
        self._job: ServerJob | None = None
        self._began = 0.0
        self._addresses: Mapping[str, str] | None = None
        self._failure: SettingError | None = None

    @property
    def log(self) -> Path:
        """What `atts serve-models` printed."""
        return self._folder / "serve-models.log"

    @property
    def answer(self) -> bool:
        """Whether they were started and answered."""
        return self._addresses is not None

    def ready(self) -> bool:
        """Whether they answer; starts them if need be.

        Raises:
            SettingError: they do not start; says why. They are tried once, not for every cell.
        """
        if not self._settings:
            return True
        if self._failure is not None:
            raise self._failure
        if self._job is None or (self._addresses is not None and self._job.poll() is not None):
            self._start()
        assert self._job is not None
        if self._addresses is None:
            self._addresses = self._job.addresses()
            if self._addresses is not None:
                seconds = time.monotonic() - self._began
                self._say(f"{self._folder.name}: the servers answer, {seconds:.0f} s")
            elif (status := self._job.poll()) is not None:
                self._failure = SettingError(f"servers: {cause(self.log, status)}")
                raise self._failure
        return self._addresses is not None

    def settings(self, roles: Collection[str]) -> dict[str, Any]:
        """`model_args` that reach the servers that are ready, for a strategy with these roles."""
        addresses = self._addresses or {}
        return {k: v for k, v in addresses.items() if k.partition("_")[0] in roles}

    def wind_down(self) -> None:
        """Ask them to stop; returns at once."""
        if self._job is not None:
            self._job.wind_down()

    def stop(self) -> None:
        """Stop them."""
        if self._job is None:
            return
        self._job.wind_down()
        deadline = time.monotonic() + STOP_SECONDS
        while self._job.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._job.kill()
        self._job = None
        self._addresses = None

    def _start(self) -> None:
        self._began = time.monotonic()
        self._addresses = None
        self._say(f"{self._folder.name}: starting the servers (log: {self.log})")
        # Settings that an engine needs at its start so that its cache can be cleared later.
        kinds = plugins.servers().values()
        environment = {k: v for kind in kinds for k, v in kind.clear_cache_needs.items()}
        arguments = ("serve-models", format_arguments(self._settings))
        self._job = self._place.serve(
            Command(
                arguments=(*arguments, "--run-dir", str(self._folder)),
                pair=self._folder.name,
                log=self.log,
                folder=self._folder,
                environment=environment,
            )
        )


def to_serve(cells: Sequence[Cell]) -> dict[str, Any]:
    """Settings for `atts serve-models`, of the roles that need a server; empty if none does."""
    if not cells:
        return {}
    settings = cells[0].served
    used = {role for cell in cells for role in cell.kind.roles}
    roles: list[Role] = [
        role
        for role in ROLES
        if role in used
        and starts(backend_of(settings, role))
        and not settings.get("url")
        and not settings.get(f"{role}_url")
    ]
    if not roles:
        return {}
    served: dict[str, Any] = {}
    for name, value in settings.items():
        prefix = name.partition("_")[0]
        if prefix not in ROLES:
            fields = {f for r in roles for f in backend_of(settings, r).options.__struct_fields__}
            if name == "backend" or name in fields:
                served[name] = value
        elif prefix in roles:
            served[name] = value
    return served
