"""Settings of the in-process backend, under the names transformers and lm-eval give them."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Literal

import msgspec

from atts_harness.backend import BackendOptions, BackendSpec
from atts_harness.errors import MissingExtraError, SettingError

Dtype = Literal["auto", "float16", "bfloat16", "float32", "float64"]
DEFAULT_BATCH = 64
DEFAULT_BATCH_TOKENS = 2048


class TransformersOptions(BackendOptions, frozen=True, kw_only=True):
    """How a model is loaded and run in this process.

    Attributes:
        dtype: of weights and arithmetic. `auto`: the checkpoint's on CUDA, float32 on a CPU.
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, ...
        revision: hub revision of model and tokenizer.
        trust_remote_code: run the model repository's own Python code.
        max_length: context window in tokens; by default the model's own.
        tokenizer: folder or hub id, if not the model's.
        chat_template: Jinja text, or the path of a file that holds it.
        chat_template_args: further arguments of the template.
        enable_thinking: the template argument of that name.
        attn_implementation: `auto` packs all requests into one forward pass and reuses prefixes
            across requests; a name transformers knows (`sdpa`, `eager`, `flash_attention_2`)
            runs each request by itself with it.
        max_batch_size: requests that compute at the same time.
        max_batch_tokens: most tokens of one forward pass; longer prompts go in pieces.
        kv_cache_memory_bytes: bound of the key/value cache; by default 1 GiB on a CPU, 60 % of
            the free memory on CUDA.
        threads: PyTorch threads of this model on a CPU.
    """

    dtype: Dtype = "auto"
    device: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    max_length: int | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    chat_template_args: dict[str, Any] = msgspec.field(default_factory=dict)
    enable_thinking: bool | None = None
    attn_implementation: str = "auto"
    max_batch_size: int = DEFAULT_BATCH
    max_batch_tokens: int = DEFAULT_BATCH_TOKENS
    kv_cache_memory_bytes: int | None = None
    threads: int | None = None


_INSTALLED: set[str] = set()


def check(spec: BackendSpec[TransformersOptions]) -> None:
    """Look at the settings before anything is opened.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        SettingError: a setting is out of range, or the model is not named.
    """
    options = spec.options
    for package in ("torch", "transformers"):
        # Looking along the path costs more than all else here, and a plan asks for every cell.
        if package not in sys.modules and package not in _INSTALLED:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError("backend=transformers", "transformers", package)
            _INSTALLED.add(package)
    if not spec.model:
        raise SettingError(
            f"{spec.role}: backend=transformers needs a model folder or hub id, as "
            f"`{spec.role}=NAME`"
        )
    for name in ("max_length", "max_batch_size", "kv_cache_memory_bytes", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingError(f"{name}: must be at least 1, not {value}")
    if options.max_batch_tokens < options.max_batch_size:
        raise SettingError(
            f"max_batch_tokens: must be at least max_batch_size ({options.max_batch_size}), "
            f"not {options.max_batch_tokens}: a forward pass takes one token of every request"
        )
