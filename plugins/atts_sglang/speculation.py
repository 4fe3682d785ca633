"""SGLang's own speculative decoding as flags."""

from __future__ import annotations

from atts_sglang.options import SGLangOptions

METHODS = ("STANDALONE", "NGRAM", "EAGLE3")
WITH_MODEL = frozenset({"STANDALONE", "EAGLE3"})


def speculation_flags(options: SGLangOptions) -> list[str]:
    """Flags of SGLang for `speculate`; none without it.

    A chain of `speculate_tokens` is proposed; SGLang counts the token before it as one of them.
    """
    if options.speculate is None:
        return []
    arguments = ["--speculative-algorithm", options.speculate]
    if options.speculate_model is not None:
        steps = str(options.speculate_tokens)
        arguments += ["--speculative-draft-model-path", options.speculate_model]
        arguments += ["--speculative-num-steps", steps, "--speculative-eagle-topk", "1"]
    return [*arguments, "--speculative-num-draft-tokens", str(options.speculate_tokens + 1)]
