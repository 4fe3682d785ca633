"""Registers vLLM as a backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atts_harness.backend import Backend, BackendKind, BackendSpec
from atts_harness.hookspecs import hookimpl
from atts_vllm.options import VLLMOptions

if TYPE_CHECKING:
    from atts_harness.engines.kind import EngineKind


async def _open(spec: BackendSpec) -> Backend:
    from atts_harness.engines.backend import open_engine
    from atts_vllm.backend import answers, connect
    from atts_vllm.launch import launch

    return await open_engine(spec, connect, launch, answers)


def _check(spec: BackendSpec) -> None:
    from atts_harness.engines.managed import check_managed
    from atts_vllm.launch import PYTHON_VARIABLE

    check_managed(spec, "vllm", PYTHON_VARIABLE, "vllm")


KIND = BackendKind(
    name="vllm",
    options=VLLMOptions,
    open=_open,
    check=_check,
    summary="vLLM: a running server (`url`), or one that is started and stopped with the run",
)


@hookimpl
def atts_backends() -> Iterable[BackendKind]:
    """The one backend."""
    return [KIND]


@hookimpl
def atts_engines() -> Iterable[EngineKind]:
    """The one engine."""
    from atts_harness.engines.kind import EngineKind
    from atts_vllm.backend import recognise
    from atts_vllm.launch import PYTHON_VARIABLE

    return [
        EngineKind(
            "vllm",
            recognise,
            package="vllm",
            python_variable=PYTHON_VARIABLE,
            clear_cache="/reset_prefix_cache",
            clear_cache_needs={"VLLM_SERVER_DEV_MODE": "1"},
        )
    ]
