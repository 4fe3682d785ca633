"""Registers SGLang as a backend."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.backend import Backend, BackendKind, BackendSpec, ServerKind
from atts_harness.hookspecs import Preset, hookimpl
from atts_sglang.options import PYTHON_VARIABLE, VERSIONS, SGLangOptions

# What SGLang 0.5.23 calls its figures.
METRICS = {
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:token_usage": "kv_usage",
    "sglang:prompt_tokens_total": "prompt_tokens",
    "sglang:cached_tokens_total": "cached_tokens",
    "sglang:generation_tokens_total": "generation_tokens",
}


async def _open(spec: BackendSpec[SGLangOptions]) -> Backend:
    from atts_harness.engines.backend import open_engine
    from atts_sglang.backend import answers, connect
    from atts_sglang.launch import launch

    return await open_engine(spec, connect, launch, answers)


def _check(spec: BackendSpec[SGLangOptions]) -> None:
    from atts_harness.engines.managed import check_managed
    from atts_harness.engines.memory import share_of
    from atts_harness.engines.speculation import check_speculation
    from atts_sglang.speculation import METHODS, WITH_MODEL

    check_speculation(spec, METHODS, WITH_MODEL)
    version = check_managed(spec, "sglang", PYTHON_VARIABLE, "sglang", ("tp_size",))
    VERSIONS.check(version, spec.role)
    if spec.options.url is None:
        share_of(spec)  # what cannot fit is refused before anything is started


async def _recognise(url: str, headers_env: str | None) -> bool:
    from atts_sglang.backend import recognise

    return await recognise(url, headers_env)


KIND = BackendKind(
    name="sglang",
    options=SGLangOptions,
    open=_open,
    check=_check,
    summary="SGLang: a running server (`url`), or one that is started and stopped with the run",
    packages=("sglang", "flashinfer-python"),
    server=ServerKind(
        _recognise,
        package="sglang",
        python_variable=PYTHON_VARIABLE,
        clear_cache="/flush_cache",
        metrics=METRICS,
    ),
)


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """One for each method of SGLang's own speculative decoding."""
    from atts_harness.engines.speculation import speculation_presets
    from atts_sglang.speculation import METHODS, WITH_MODEL

    return speculation_presets("sglang", METHODS, WITH_MODEL)


@hookimpl
def atts_backends() -> Iterable[BackendKind[SGLangOptions]]:
    """The one backend."""
    return [KIND]
