"""Reaching a server that runs already: which engine it is, and its backend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from atts_harness import plugins
from atts_harness.backend import Backend, BackendKind, BackendSpec
from atts_harness.discovery import FAULTS
from atts_harness.engines.address import base_address
from atts_harness.engines.backend import EngineBackend
from atts_harness.engines.http import wants_key
from atts_harness.errors import AttsError, BackendError, SettingError
from atts_harness.settings import struct_from


async def open_running_backend(
    url: str, name: str | None, settings: Mapping[str, Any]
) -> AsyncIterator[tuple[EngineBackend, str]]:
    """The backend of a running server and the name of its model; closed afterwards.

    Args:
        url: its address, as given.
        name: as in `backend=NAME`; None: recognised by its answers.
        settings: options of the backend by name, `model` and `timeout` among them.

    Raises:
        SettingError: not an address, no answer, or no server that can be used.
    """
    base = base_address(url, "url")
    seconds = settings["timeout"]
    try:
        async with asyncio.timeout(seconds):
            kind = await kind_of(base, name, settings["headers_env"])
    except TimeoutError as error:
        raise SettingError(
            f"url: {url} accepts connections and does not answer within --timeout {seconds:g} s"
        ) from error
    fields = kind.options.__struct_fields__
    values = {k: v for k, v in settings.items() if v is not None and k in fields}
    options = struct_from(kind.options, {"url": base, **values}, source=kind.name)
    try:
        opened = await kind.open(BackendSpec(kind.name, settings["model"], options))
    except SettingError as error:
        raise _without_role(error) from error
    backend = await require_engine(opened)
    try:
        yield backend, backend.served_model
    finally:
        await backend.aclose()


async def require_engine(backend: Backend) -> EngineBackend:
    """A backend that speaks to a server; another one is closed.

    Raises:
        SettingError: it does not.
    """
    if isinstance(backend, EngineBackend):
        return backend
    await backend.aclose()
    raise SettingError(
        f"backend: {type(backend).__name__} speaks to no server, so there is none to start or to "
        "look at; name a backend with servers (its class is an EngineBackend)"
    )


async def kind_of(url: str, name: str | None, headers_env: str | None) -> BackendKind[Any]:
    """The backend for a server: the named one, or that of the engine that answers there."""
    if name is not None:
        return plugins.backend(name)
    servers = plugins.servers()
    locked: BackendError | None = None
    for kind, server in sorted(servers.items(), key=lambda entry: not entry[1].specific):
        try:
            if await server.recognise(url, headers_env):
                return plugins.backend(kind)
        except BackendError as error:
            if not wants_key(error):
                raise SettingError(
                    f"url: nothing answers at {url} ({_reason(error)}); start the server, or give "
                    "the address at which it listens"
                ) from error
            locked = error  # each engine's key stands in a variable of its own
        except AttsError:
            raise
        except FAULTS as error:  # of one plugin, which must not hide the engine that answers
            entry = plugins.backends()[kind]
            plugins.discovery().leave_out(entry.plugin, f"recognise of backend {kind!r}", error)
    if locked is not None:
        raise SettingError(f"url: {url} asks for a key: {locked}") from locked
    raise SettingError(f"url: {url} is not a known engine; name it with --backend")


def _reason(error: BackendError) -> str:
    """Why there was no connection, in the system's words; else the whole error."""
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error)


def _without_role(error: SettingError) -> SettingError:
    """An error that names a role's settings, in the words of a command that has no roles."""
    text = str(error).removeprefix("target_")
    return SettingError(text.replace("target_timeout=", "--timeout "))
