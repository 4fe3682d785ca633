"""Registers SGLang as a backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.backend import Backend, BackendKind, BackendSpec
from atts_harness.hookspecs import hookimpl
from atts_sglang.options import SGLangOptions

if TYPE_CHECKING:
    from atts_harness.engines.kind import EngineKind


async def _open(spec: BackendSpec) -> Backend:
    from atts_harness.engines.backend import open_engine
    from atts_sglang.backend import answers, connect
    from atts_sglang.launch import launch

    return await open_engine(spec, connect, launch, answers)


def _check(spec: BackendSpec) -> None:
    from atts_harness.engines.managed import check_managed
    from atts_sglang.launch import PYTHON_VARIABLE

    check_managed(spec, "sglang", PYTHON_VARIABLE, "sglang")


KIND = BackendKind(
    name="sglang",
    options=SGLangOptions,
    open=_open,
    check=_check,
    summary="SGLang: a running server (`url`), or one that is started and stopped with the run",
)


@hookimpl
def atts_backends() -> Iterable[BackendKind]:
    """The one backend."""
    return [KIND]


@hookimpl
def atts_engines() -> Iterable[EngineKind]:
    """The one engine."""
    from atts_harness.engines.kind import EngineKind
    from atts_sglang.backend import recognise
    from atts_sglang.launch import PYTHON_VARIABLE

    return [
        EngineKind(
            "sglang",
            recognise,
            package="sglang",
            python_variable=PYTHON_VARIABLE,
            clear_cache="/flush_cache",
        )
    ]
