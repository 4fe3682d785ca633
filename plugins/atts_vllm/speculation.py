"""vLLM's own speculative decoding as flags."""

from __future__ import annotations

from typing import Any

import msgspec

from atts_vllm.options import VLLMOptions

METHODS = ("draft_model", "ngram", "suffix", "eagle3")
WITH_MODEL = frozenset({"draft_model", "eagle3"})
# What n-gram matching looks for in the context; vLLM asks for one of the two.
LOOKUP = {"prompt_lookup_min": 2, "prompt_lookup_max": 4}


def speculation_flags(options: VLLMOptions) -> list[str]:
    """The flags that `speculate` stands for; none without it."""
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
