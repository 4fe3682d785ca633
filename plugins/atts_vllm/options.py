"""Settings of a vLLM backend, under vLLM's own names where it has one."""

from __future__ import annotations

from typing import Annotated

import msgspec

from atts_harness.engines.managed import ManagedOptions
from atts_harness.engines.versions import Versions

PYTHON_VARIABLE = "ATTS_VLLM_PYTHON"
"""Environment variable that names the Python of the environment which holds the engine."""


VERSIONS = Versions("vLLM", ">=0.32,<0.33")
"""What `make test-vllm` runs on; `docs/compatibility.json` is its record."""


class VLLMOptions(ManagedOptions, frozen=True, kw_only=True):
    """A model served by vLLM."""

    api_key_env: Annotated[
        str, msgspec.Meta(description="environment variable with the server's key")
    ] = "VLLM_API_KEY"
    tensor_parallel_size: (
        Annotated[int, msgspec.Meta(ge=1, description="tensor parallel size; default: all devices")]
        | None
    ) = None
    gpu_memory_utilization: (
        Annotated[
            float, msgspec.Meta(gt=0, le=1, description="device memory for weights and cache")
        ]
        | None
    ) = None
    max_num_seqs: Annotated[int, msgspec.Meta(ge=1, description="requests in one batch")] | None = (
        None
    )
    max_num_batched_tokens: (
        Annotated[
            int,
            msgspec.Meta(ge=1, description="tokens in one step; bounds a score's memory"),
        ]
        | None
    ) = None
    enforce_eager: Annotated[bool, msgspec.Meta(description="no compilation, no CUDA graphs")] = (
        False
    )
