"""Registers vLLM as a backend."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.backend import Backend, BackendKind, BackendSpec, ServerKind
from atts_harness.hookspecs import Preset, hookimpl
from atts_vllm.options import PYTHON_VARIABLE, VERSIONS, VLLMOptions

# What vLLM 0.32 calls its figures.
METRICS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_usage",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:prefix_cache_hits_total": "cached_tokens",
    "vllm:generation_tokens_total": "generation_tokens",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:spec_decode_num_draft_tokens_total": "proposed_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
}


async def _open(spec: BackendSpec[VLLMOptions]) -> Backend:
    from atts_harness.engines.backend import open_engine
    from atts_vllm.backend import answers, connect
    from atts_vllm.launch import launch

    return await open_engine(spec, connect, launch, answers)


def _check(spec: BackendSpec[VLLMOptions]) -> None:
    from atts_harness.engines.managed import check_managed
    from atts_harness.engines.memory import share_of
    from atts_harness.engines.speculation import check_speculation
    from atts_vllm.speculation import METHODS, WITH_MODEL

    check_speculation(spec, METHODS, WITH_MODEL)
    version = check_managed(spec, "vllm", PYTHON_VARIABLE, "vllm", ("tensor_parallel_size",))
    VERSIONS.check(version, spec.role)
    if spec.options.url is None:
        share_of(spec)  # what cannot fit is refused before anything is started


async def _recognise(url: str, headers_env: str | None) -> bool:
    from atts_vllm.backend import recognise

    return await recognise(url, headers_env)


KIND = BackendKind(
    name="vllm",
    options=VLLMOptions,
    open=_open,
    check=_check,
    summary="vLLM: a running server (`url`), or one that is started and stopped with the run",
    packages=("vllm",),
    server=ServerKind(
        _recognise,
        package="vllm",
        python_variable=PYTHON_VARIABLE,
        clear_cache="/reset_prefix_cache",
        clear_cache_needs={"VLLM_SERVER_DEV_MODE": "1"},
        metrics=METRICS,
    ),
)


@hookimpl
def atts_presets() -> Iterable[Preset]:
    """One for each method of vLLM's own speculative decoding."""
    from atts_harness.engines.speculation import speculation_presets
    from atts_vllm.speculation import METHODS, WITH_MODEL

    return speculation_presets("vllm", METHODS, WITH_MODEL)


@hookimpl
def atts_backends() -> Iterable[BackendKind[VLLMOptions]]:
    """The one backend."""
    return [KIND]
