"""Settings of an SGLang backend, under SGLang's own names where it has one."""

from __future__ import annotations

from typing import Annotated

import msgspec

from atts_harness.engines.managed import ManagedOptions
from atts_harness.engines.versions import Versions

PYTHON_VARIABLE = "ATTS_SGLANG_PYTHON"
"""Environment variable that names the Python of the environment which holds the engine."""


VERSIONS = Versions(
    "SGLang",
    ">=0.5.23,<0.5.24",
    # sgl-project/sglang#6055; 0.4.3.post4 is what the published code of ATTS pins.
    {
        "<0.4.7": "a request of temperature 0 turns all samples that run beside it greedy (the "
        "published code pins 0.4.3.post4, which does); serve the model with a later one"
    },
)
"""What `make test-sglang` runs on; `docs/compatibility.json` is its record."""


class SGLangOptions(ManagedOptions, frozen=True, kw_only=True):
    """A model served by SGLang."""

    api_key_env: Annotated[
        str, msgspec.Meta(description="environment variable with the server's key")
    ] = "SGLANG_API_KEY"
    tp_size: (
        Annotated[int, msgspec.Meta(ge=1, description="tensor parallel size; default: all devices")]
        | None
    ) = None
    mem_fraction_static: (
        Annotated[
            float, msgspec.Meta(gt=0, le=1, description="device memory for weights and cache")
        ]
        | None
    ) = None
    max_total_tokens: (
        Annotated[int, msgspec.Meta(ge=16, description="tokens of key-value cache")] | None
    ) = None
    max_running_requests: (
        Annotated[int, msgspec.Meta(ge=1, description="requests in one batch")] | None
    ) = None
    attention_backend: Annotated[
        str | None, msgspec.Meta(description="flashinfer, fa3, triton, torch_native, ...")
    ] = None
