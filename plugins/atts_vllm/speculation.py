"""vLLM's own speculative decoding as flags."""

from __future__ import annotations

from typing import Any

import msgspec

from atts_harness.backend import BackendSpec
from atts_harness.engines.managed import devices_of
from atts_vllm.options import VLLMOptions

METHODS = ("draft_model", "ngram", "suffix", "eagle3")
WITH_MODEL = frozenset({"draft_model", "eagle3"})
# What n-gram matching looks for in the context; vLLM asks for one of the two.
LOOKUP = {"prompt_lookup_min": 2, "prompt_lookup_max": 4}


def speculation_flags(options: VLLMOptions) -> list[str]:
    """Flags of vLLM for `speculate`; none without it."""
    if options.speculate is None:
        return []
    config: dict[str, Any] = {
        "method": options.speculate,
        "num_speculative_tokens": options.speculate_tokens,
    }
    if options.speculate_model is not None:
        config["model"] = options.speculate_model
    if options.speculate == "ngram":
        config |= LOOKUP
    return ["--speculative-config", msgspec.json.encode(config).decode()]


def wrong_draws(spec: BackendSpec[VLLMOptions]) -> str:
    """Why a server of ours that guesses ahead must not draw; empty where it may.

    For the processor vLLM 0.32 replaces the kernel that copies each request's temperature, top_p
    and top_k to its guessed tokens, and the replacement writes integers of 64 bits alone
    (`_expand_kernel_impl` in `vllm/utils/cpu_triton_utils.py`). So texts are drawn at whatever
    temperature stood in that memory. The most probable token needs none of these.
    """
    if devices_of(spec):
        return ""
    return (
        f"{spec.role}_temperature: on the processor, vLLM ignores the temperature while it "
        f"decodes speculatively; give {spec.role}_temperature=0, leave out what turns "
        "speculative decoding on, or serve the model on a GPU"
    )
