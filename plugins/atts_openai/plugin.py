"""Registers any OpenAI-compatible completions server as a backend."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.backend import Backend, BackendKind, BackendSpec, ServerKind
from atts_harness.errors import SettingError
from atts_harness.hookspecs import hookimpl
from atts_openai.options import OpenAIOptions


async def _open(spec: BackendSpec[OpenAIOptions]) -> Backend:
    from atts_harness.engines.backend import open_engine
    from atts_openai.backend import connect

    return await open_engine(spec, connect)


def _check(spec: BackendSpec[OpenAIOptions]) -> None:
    from atts_harness.engines.address import base_address

    if spec.options.url is None:
        raise SettingError(
            f"{spec.role}_url: backend=openai needs the address of a running server, as "
            "http://HOST:PORT/v1"
        )
    base_address(spec.options.url, f"{spec.role}_url")


async def _recognise(url: str, headers_env: str | None) -> bool:
    from atts_openai.backend import recognise

    return await recognise(url, headers_env)


KIND = BackendKind(
    name="openai",
    options=OpenAIOptions,
    open=_open,
    check=_check,
    summary="any OpenAI-compatible completions server (`url`); one that cannot score: draft only",
    server=ServerKind(_recognise, starts=False, specific=False),
)


@hookimpl
def atts_backends() -> Iterable[BackendKind[OpenAIOptions]]:
    """The one backend."""
    return [KIND]
