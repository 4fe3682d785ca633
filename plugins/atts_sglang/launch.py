"""How an SGLang server is started."""

from __future__ import annotations

from typing import Any

from atts_harness.backend import BackendSpec
from atts_harness.engines.logs import log_of
from atts_harness.engines.managed import (
    KEPT_OPEN_SECONDS,
    devices_of,
    engine_python,
    flags,
    package_version,
    port_of,
    with_defaults,
)
from atts_harness.engines.memory import Share, on_shared_devices, share_of
from atts_harness.engines.servers import Cause, Launch
from atts_sglang.options import PYTHON_VARIABLE, SGLangOptions
from atts_sglang.speculation import speculation_flags

# A cache of this size holds the contexts of a small run; without a bound SGLang takes most of the
# machine's memory, which on a CPU is everybody's.
CPU_CACHE_TOKENS = 65536
# Seconds after which the server looks for dropped connections: whole ones, 4 by default. A request
# that waits in its queue, of a client that was killed, is noticed in no other way.
LOOK_VARIABLE, LOOK_SECONDS = "SGLANG_REQUEST_STATE_WAIT_TIMEOUT", 1
# When both servers share a device and nothing is known of the models' sizes.
SHARED_FRACTION = {"draft": 0.25, "target": 0.6}

CAUSES = (
    Cause(
        r"out of memory|outofmemoryerror|not enough memory|memory pool size is too small|"
        r"leave no \S* ?memory for the kv cache|can't allocate memory",
        "mem_fraction_static",
        "too little device memory: more devices, a smaller `max_length`, or another fraction",
    ),
    Cause(
        r"context_length.*greater than the derived|longer than the model's maximum",
        "max_length",
        "ask for no more than the model's own context",
    ),
    Cause(r"no module named '?sglang", "engine_python", "pip install 'atts-harness[sglang]'"),
)


def launch(spec: BackendSpec[SGLangOptions]) -> Launch:
    """The command for a role's server.

    Raises:
        MissingExtraError: SGLang is not installed in the chosen environment.
        SettingError: devices or flags that cannot be used.
    """
    options = spec.options
    python = engine_python(options, PYTHON_VARIABLE)
    package_version(python, "sglang", "sglang")
    devices = devices_of(spec)
    # Tempered log-probabilities of generated tokens would be of no use; input ones never are.
    env = {
        "SGLANG_RETURN_ORIGINAL_LOGPROB": "1",
        "SGLANG_TIMEOUT_KEEP_ALIVE": str(KEPT_OPEN_SECONDS),
        LOOK_VARIABLE: str(LOOK_SECONDS),
    }
    share: Share | None = None
    usual: dict[str, Any] = {
        "model_path": spec.model,
        "tokenizer_path": options.tokenizer,
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "served_model_name": options.served_model_name,
        "host": options.host,
        "port": port_of(options),
        "dtype": options.dtype,
        "context_length": options.max_length,
        "mem_fraction_static": options.mem_fraction_static,
        "max_total_tokens": options.max_total_tokens,
        "max_running_requests": options.max_running_requests,
        "attention_backend": options.attention_backend,
        "enable_metrics": True,
        "enable_cache_report": True,
    }
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        usual["tp_size"] = options.tp_size or len(devices)
        share = share_of(spec)
        if share is not None:
            usual["context_length"] = share.max_length
        if options.mem_fraction_static is None and on_shared_devices(spec):
            usual["mem_fraction_static"] = (
                SHARED_FRACTION[spec.role] if share is None else share.of_free
            )
    else:
        env["SGLANG_USE_CPU_ENGINE"] = "1"
        usual |= {
            "device": "cpu",
            "attention_backend": options.attention_backend or "torch_native",
            "max_total_tokens": options.max_total_tokens or CPU_CACHE_TOKENS,
            "max_running_requests": options.max_running_requests or 16,
            "sleep_on_idle": True,
        }
    arguments = [*flags(options.server_args), *speculation_flags(options)]
    command = with_defaults(arguments, usual)
    return Launch(
        role=spec.role,
        argv=[python, "-m", "sglang.launch_server", *command],
        env=env,
        host=options.host,
        port=int(usual["port"]),
        log=log_of(spec, "sglang"),
        causes=CAUSES,
        timeout=options.start_timeout,
        note="" if share is None else share.words(),
    )
