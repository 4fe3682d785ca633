"""The engines of a pair: servers that its cells share, and prefix caches cleared between them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atts_harness import plugins
from atts_harness.backend import Role
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.kind import EngineKind
from atts_harness.engines.options import EngineOptions, request_headers
from atts_harness.errors import AttsError, BackendError, SettingError
from atts_harness.settings import ROLES, convert, parse_settings
from atts_lm_eval.compare.cells import Cell, backend_of
from atts_lm_eval.compare.commands import text_of
from atts_lm_eval.compare.process import ATTS, Process, cause

ANNOUNCES = "--model_args "
POLL_SECONDS = 0.2
STOP_SECONDS = 30.0
# An engine refuses while a request is being aborted, which SGLang takes seconds for.
CLEAR_SECONDS = 8.0
PAUSE_SECONDS = 1.0
CLEARED = "cleared"
OWN_PROCESS = "nothing to clear: the model is loaded by the cell itself"


class Servers:
    """The servers of one pair, started by `atts serve-models` when they are first needed.

    A pair that is served already (`draft_url`, `target_url`), or in the cells' own processes,
    needs none.

    Args:
        cells: of the pair.
        folder: for the servers' logs; its name is the pair's.
        say: tells people what happens.
    """

    def __init__(self, cells: Sequence[Cell], folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._settings = _to_serve(cells)
        self._process: Process | None = None
        self._announced: dict[str, str] = {}
        self._failure: SettingError | None = None

    @property
    def log(self) -> Path:
        """What `atts serve-models` printed."""
        return self._folder / "serve-models.log"

    @property
    def process(self) -> Process | None:
        """The running servers, if there are any."""
        return self._process

    def settings(self, strategy: str) -> dict[str, Any]:
        """`model_args` that reach the servers, for a strategy; starts them if need be.

        Raises:
            SettingError: they do not start; says why. They are tried once, not for every cell.
        """
        if not self._settings:
            return {}
        if self._failure is not None:
            raise self._failure
        if self._process is None or self._process.popen.poll() is not None:
            self._start()
        roles = plugins.strategy(strategy).roles
        return {k: v for k, v in self._announced.items() if k.partition("_")[0] in roles}

    def stop(self) -> None:
        """Stop them."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.popen.send_signal(signal.SIGTERM)
        try:
            self._process.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process = None

    def _start(self) -> None:
        began = time.monotonic()
        self._say(f"{self._folder.name}: starting the servers (log: {self.log})")
        behind = self.log.stat().st_size if self.log.exists() else 0
        command = [*ATTS, "serve-models", text_of(self._settings)]
        command += ["--run-dir", str(self._folder)]
        # Whatever an engine has to be told at its start so that its cache can be cleared.
        environment = {k: v for e in _engines().values() for k, v in e.clear_cache_needs.items()}
        self._process = Process(command, self.log, environment)
        while (found := _announcement(self.log, behind)) is None:
            status = self._process.popen.poll()
            if status is not None:
                self._failure = SettingError(f"servers: {cause(self.log, status)}")
                raise self._failure
            time.sleep(POLL_SECONDS)
        self._announced = found
        self._say(f"{self._folder.name}: the servers answer, {time.monotonic() - began:.0f} s")


def clear_caches(settings: Mapping[str, Any]) -> dict[str, str]:
    """Empty the prefix caches of the engines that a cell is about to use.

    Args:
        settings: the cell's `model_args`, with the servers' addresses.

    Returns:
        By role what was done: `cleared`, or why there was nothing to clear, or why it could not
        be done; the last begins with `not cleared`.
    """
    return asyncio.run(_clear(settings))


async def _clear(settings: Mapping[str, Any]) -> dict[str, str]:
    told: dict[str, str] = {}
    done: dict[str, str] = {}
    for role, spec in parse_settings(settings).roles.items():
        url = getattr(spec.options, "url", None)
        if not isinstance(spec.options, EngineOptions) or url is None:
            told[role] = OWN_PROCESS
            continue
        if url not in done:
            done[url] = await _clear_one(_engines().get(spec.kind), url, spec.options)
        told[role] = done[url]
    return told


async def _clear_one(engine: EngineKind | None, url: str, options: EngineOptions) -> str:
    if engine is None or engine.clear_cache is None:
        return "not cleared: no way is known for this engine"
    http = EngineHttp(url, headers=request_headers(options), timeout=CLEAR_SECONDS)
    deadline = time.monotonic() + CLEAR_SECONDS
    try:
        while True:
            try:
                await http.exchange("POST", engine.clear_cache)
                return CLEARED
            except BackendError as error:
                if ": 404 " in str(error) and engine.clear_cache_needs:
                    needs = " ".join(f"{k}={v}" for k, v in engine.clear_cache_needs.items())
                    return f"not cleared: the server was started without {needs}"
                if time.monotonic() > deadline:
                    return f"not cleared: {error}"
            await asyncio.sleep(PAUSE_SECONDS)
    except AttsError as error:
        return f"not cleared: {error}"
    finally:
        await http.aclose()


def _to_serve(cells: Sequence[Cell]) -> dict[str, Any]:
    """Settings for `atts serve-models`: of the roles that need a server; empty: none does."""
    if not cells:
        return {}
    given = cells[0].served
    used = {role for cell in cells for role in plugins.strategy(cell.strategy).roles}
    roles: list[Role] = [
        role
        for role in ROLES
        if role in used
        and "port" in backend_of(given, role).options.__struct_fields__
        and not given.get("url")
        and not given.get(f"{role}_url")
    ]
    if not roles:
        return {}
    found: dict[str, Any] = {}
    for name, value in given.items():
        prefix = name.partition("_")[0]
        if prefix not in ROLES:
            fields = {f for r in roles for f in backend_of(given, r).options.__struct_fields__}
            if name == "backend" or name in fields:
                found[name] = value
        elif prefix in roles:
            found[name] = value
    return found


def _announcement(log: Path, behind: int) -> dict[str, str] | None:
    """The settings that `atts serve-models` prints when its servers answer."""
    with log.open("rb") as file:
        file.seek(behind)
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines:
        if line.startswith(ANNOUNCES):
            parts = line.removeprefix(ANNOUNCES).split(",")
            pairs = (part.partition("=") for part in parts)
            return {name: str(convert(name, value, str)) for name, _, value in pairs}
    return None


def _engines() -> dict[str, EngineKind]:
    found = plugins.manager().hook.atts_engines()
    return {engine.name: engine for engines in found for engine in engines}
