"""How a vLLM server is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.backend import BackendSpec
from atts_harness.engines.logs import log_of
from atts_harness.engines.managed import (
    KEPT_OPEN_SECONDS,
    devices_of,
    engine_python,
    flags,
    flags_by_name,
    package_version,
    port_of,
    with_defaults,
)
from atts_harness.engines.memory import Share, on_shared_devices, share_of
from atts_harness.engines.servers import Cause, Launch
from atts_harness.errors import SettingError
from atts_vllm import in_engine
from atts_vllm.in_engine.atts_vllm_tail import VARIABLE
from atts_vllm.options import PYTHON_VARIABLE, VLLMOptions
from atts_vllm.speculation import speculation_flags

# When both servers share a device and nothing is known of the models' sizes.
SHARED_FRACTION = {"draft": 0.25, "target": 0.6}
# Log-probabilities of a prompt are computed for all tokens of a step at once, vocabulary wide, and
# vLLM's memory profile does not foresee it: at 150k ids a step of 8192 tokens takes 5 GB.
SCORED_STEP_TOKENS = 2048
# The first release with a route that scores only the tail of a context.
TAIL_SCORES_SINCE = (0, 32)
# The first release looked at that says of each request how many proposed tokens were accepted.
SPECULATION_TOLD_SINCE = (0, 32)

# Requests in one batch on the processor, unless another number is asked for.
CPU_SEQUENCES = 32
# Where neither a setting nor the model's own folder tells its window.
LONGEST_WINDOW = 131072

CAUSES = (
    Cause(
        r"cpu generator does not use offset",
        "max_num_batched_tokens",
        "on the processor vLLM ends when a seeded prompt takes several steps: leave the setting "
        "out, or give sequences x window",
    ),
    Cause(
        r"out of memory|outofmemoryerror|no available memory for the cache blocks|"
        r"free memory on device .* is less than desired|"
        r"larger than the (?:available kv cache memory|maximum number of tokens)|"
        r"available memory on node .* is less than requested|can't allocate memory|"
        r"not enough memory",
        "gpu_memory_utilization",
        "too little device memory: more devices, a smaller `max_length`, or another fraction",
    ),
    Cause(
        r"max_model_len.*is greater than the derived|user-specified max_model_len",
        "max_length",
        "ask for no more than the model's own context",
    ),
    Cause(r"no module named '?vllm", "engine_python", "pip install 'atts-harness[vllm]'"),
)


def launch(spec: BackendSpec[VLLMOptions]) -> Launch:
    """The command for a role's server.

    Raises:
        MissingExtraError: vLLM is not installed in the chosen environment.
        SettingError: devices or flags that cannot be used.
    """
    options = spec.options
    assert spec.model is not None
    python = engine_python(options, PYTHON_VARIABLE)
    version = _version(python)
    devices = devices_of(spec)
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEPT_OPEN_SECONDS),
        **tail_environment(),
    }
    if key := os.environ.get(options.api_key_env):
        env["VLLM_API_KEY"] = key  # never a flag: everybody can read a command line
    share: Share | None = None
    usual: dict[str, Any] = {
        "tokenizer": options.tokenizer,
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "served_model_name": options.served_model_name or spec.model,
        "host": options.host,
        "port": port_of(options),
        "dtype": options.dtype,
        "max_model_len": options.max_length,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "max_num_seqs": options.max_num_seqs,
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "enforce_eager": options.enforce_eager,
        "scheduling_policy": "priority",
        "enable_prompt_tokens_details": True,
    }
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        usual["tensor_parallel_size"] = options.tensor_parallel_size or len(devices)
        usual["enable_scale_out"] = version >= TAIL_SCORES_SINCE
        if spec.role == "target" and options.max_num_batched_tokens is None:
            usual["max_num_batched_tokens"] = SCORED_STEP_TOKENS
        share = share_of(spec)
        if share is not None:
            usual["max_model_len"] = share.max_length
        if options.gpu_memory_utilization is None and on_shared_devices(spec):
            usual["gpu_memory_utilization"] = (
                SHARED_FRACTION[spec.role] if share is None else share.of_device
            )
    else:
        # Without these vLLM binds every thread to a core and takes half the memory for its cache.
        env["VLLM_CPU_OMP_THREADS_BIND"] = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        env["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")
        usual |= {"max_num_seqs": options.max_num_seqs or CPU_SEQUENCES, "enforce_eager": True}
        usual["max_num_batched_tokens"] = _whole_prompts(spec)
    speculation = speculation_flags(options)
    if speculation and version >= SPECULATION_TOLD_SINCE:
        usual["per_request_spec_decode_metrics"] = "summary"
    command = with_defaults([*flags(options.server_args), *speculation], usual)
    return Launch(
        role=spec.role,
        argv=[*_vllm(python), "serve", spec.model, *command],
        env=env,
        host=options.host,
        port=int(usual["port"]),
        log=log_of(spec, "vllm"),
        causes=CAUSES,
        timeout=options.start_timeout,
        note="" if share is None else share.words(),
    )


def _whole_prompts(spec: BackendSpec[VLLMOptions]) -> int:
    """Tokens of a step that hold every prompt of a batch whole, so that none takes several steps.

    On the processor, a seeded request whose prompt takes several steps ends the engine: the runner
    moves the generator's offset back, which a CPU generator does not have (vLLM 0.31 to 0.33).

    Raises:
        SettingError: fewer were asked for.
    """
    options = spec.options
    server_flags = flags_by_name(options)  # a number of sequences or a window may stand there too
    sequences = server_flags.get("max-num-seqs") or options.max_num_seqs or CPU_SEQUENCES
    window = server_flags.get("max-model-len") or options.max_length or _own_window(spec.model)
    needed = int(sequences) * int(window)
    batched_tokens = options.max_num_batched_tokens
    if batched_tokens is not None and batched_tokens < needed:
        raise SettingError(
            f"{spec.role}_max_num_batched_tokens: on the processor vLLM ends when a seeded prompt "
            f"takes several steps, so a step must hold {sequences} sequences x {window} tokens = "
            f"{needed}, not {batched_tokens}; leave it out, or lower max_num_seqs or max_length"
        )
    return batched_tokens or needed


def _own_window(model: str | None) -> int:
    """The window that a model's folder tells; a very long one where there is no folder."""
    try:
        config = msgspec.json.decode((Path(model or "") / "config.json").read_bytes())
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return LONGEST_WINDOW


def tail_environment() -> dict[str, str]:
    """Variables by which a server finds the plugin for scores that read the cache, and uses it.

    `ATTS_VLLM_TAIL=0` in this process's own environment leaves it out.
    """
    paths = [str(Path(in_engine.__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {
        VARIABLE: os.environ.get(VARIABLE, "1"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def _version(python: str) -> tuple[int, ...]:
    version = package_version(python, "vllm", "vllm")
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())


def _vllm(python: str) -> list[str]:
    """The `vllm` command of an environment; its module where the script is not beside Python."""
    script = Path(python).with_name("vllm")
    if script.exists():
        return [python, str(script)]
    return [python, "-m", "vllm.entrypoints.cli.main"]
